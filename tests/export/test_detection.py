"""Detectors as one file: a box and a class that were never traced, and the detections themselves."""

import numpy as np
import pytest
import torch

import camport
from benchmarks.detection import cases
from camport.adapters import DetectionAdapter
from camport.demo.detector import load as load_detector
from camport.errors import ExportError
from camport.export import to_onnx
from camport.runtime import detections, load
from tests.adapters.detectors import ClassicHead, Detector, FreeHead, Transformer, awake, photographs

pytestmark = pytest.mark.filterwarnings("ignore::camport.errors.DoubtWarning", "ignore::camport.errors.FlatMapWarning")


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    found = cases(6)
    bound = camport.bind(load_detector(), adapter="detection")
    path = tmp_path_factory.mktemp("detector") / "odam.onnx"
    to_onnx(bound, path, torch.cat([image for image, _ in found[:2]]), nms=True)
    return bound, load(path), [image for image, _ in found]


def test_boxes_and_classes_that_were_not_traced(shipped):
    bound, explainer, images = shipped
    batch = torch.cat(images[2:5])
    boxes = np.array([[5, 9, 40, 60], [70, 20, 110, 80], [0, 0, 0, 0]], np.float32)
    for classes in ([-1, 3, -1], [7, -1, -1]):
        result = explainer(batch.numpy(), boxes=boxes, class_ids=classes)
        asked = {"boxes": torch.from_numpy(boxes[:2]), "class_ids": torch.tensor(classes[:2])}
        eager = bound(batch[:2], asked)
        np.testing.assert_allclose(result.score[:2], eager.score, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(result.heatmap[:2], eager.heatmap, atol=1e-4)
        best = bound(batch[2:])  # a box of no area is the best detection
        np.testing.assert_allclose(result.heatmap[2], best.heatmap[0], atol=1e-4)


def test_detections_are_read_without_torch_and_given_by_the_file_itself(shipped):
    bound, explainer, images = shipped
    for image in images:
        eager = bound(image)
        result = explainer(image.numpy(), boxes=np.zeros((1, 4), np.float32))
        found = detections(result, explainer.metadata["adapter"], image.shape[2:])
        np.testing.assert_allclose(found.boxes, eager.figures["boxes"], atol=1e-3)
        assert found.class_ids.tolist() == eager.target.tolist()
        np.testing.assert_allclose(found.confidence, eager.figures["confidence"], atol=1e-4)
        rows = result.detections[np.argsort(-result.detections[:, 5], kind="stable")]
        np.testing.assert_allclose(rows[:, 1:5], found.boxes, atol=1e-3)
        np.testing.assert_allclose(rows[:, 5], found.confidence, atol=1e-4)
        assert rows[:, 6].tolist() == found.class_ids.tolist()
        assert set(rows[:, 0]) == {0.0}


@pytest.mark.parametrize(
    "network",
    [lambda: Detector(ClassicHead()), lambda: Detector(FreeHead()), lambda: Transformer(softmax=True)],
    ids=["yolov5", "yolov8", "detr"],
)
def test_every_form_is_exported(network, tmp_path):
    model, images = awake(network()).float(), photographs(2).float()
    bound = camport.bind(model, "layercam", adapter=DetectionAdapter(threshold=0.0, most=1))
    to_onnx(bound, tmp_path / "file.onnx", images)
    explainer = load(tmp_path / "file.onnx")
    asked = {"boxes": [[3.0, 5, 50, 44], [30, 2, 90, 60], [8, 8, 70, 50]], "class_ids": [1, -1, 2]}
    other = photographs(3, seed=9).float()
    eager = bound(other, asked)
    result = explainer(other.numpy(), boxes=np.array(asked["boxes"], np.float32), class_ids=asked["class_ids"])
    np.testing.assert_allclose(result.score, eager.score, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(result.heatmap, eager.heatmap, atol=1e-3)


def test_suppression_needs_a_table(tmp_path):
    bound = camport.bind(
        awake(Transformer(softmax=True)).float(), "layercam", adapter=DetectionAdapter(threshold=0.0, most=1)
    )
    with pytest.raises(
        ExportError, match="nms is for detectors whose outputs have the form yolov5 or yolov8, not 'detr'"
    ):
        to_onnx(bound, tmp_path / "file.onnx", photographs(2).float(), nms=True)
