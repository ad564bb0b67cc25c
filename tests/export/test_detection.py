"""Detectors as one file: a box and a class that were never traced,
and the detections themselves."""

import numpy as np
import pytest
import torch
from PIL import Image

import camport
from benchmarks.detectors.detection import cases, scored, target
from camport.adapters import DetectionAdapter
from camport.cli import main
from camport.demo.detector import load as load_detector
from camport.demo.scenes import make_scene
from camport.errors import ExportError, ModelError
from camport.export import to_onnx
from camport.runtime import detections, load
from tests.adapters.detectors import (
    ClassicHead,
    Detector,
    FreeHead,
    Transformer,
    awake,
    photographs,
)

pytestmark = pytest.mark.filterwarnings(
    "ignore::camport.errors.DoubtWarning", "ignore::camport.errors.FlatMapWarning"
)


@pytest.fixture(scope="module")
def shipped(shared):
    found = cases(6)
    bound = camport.bind(load_detector(), adapter="detection")
    traced = torch.cat([image for image, _ in found[:2]])
    folder, _ = shared(
        "detector-nms", lambda folder: to_onnx(bound, folder / "odam.onnx", traced, nms=True)
    )
    return bound, load(folder / "odam.onnx"), [image for image, _ in found]


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


def test_the_files_maps_lie_on_the_digits_asked_about(shipped):
    _, explainer, _ = shipped
    maps, scenes = [], []
    for image, digits in cases(30):
        asked = {name: value.numpy() for name, value in target(digits).items()}
        result = explainer(np.repeat(image.numpy(), len(digits), 0), only=["heatmap"], **asked)
        maps.append(torch.from_numpy(result.heatmap))
        scenes.append(digits)
    energy, pointing, apart, pairs = scored(maps, scenes)
    assert energy >= 0.6
    assert pointing >= 0.95
    assert pairs
    assert apart == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ("--box", "10,10,10,20"),
            "box 10,10,10,20 has no area; wanted left < right and top < bottom",
        ),
        (
            ("--box", "300,10,320,20"),
            "box 300,10,320,20 lies outside the picture, which is 128 wide and 128 high",
        ),
        (("--confidence", "0.9999"), "no detection reaches a confidence of 0.9999, the best has"),
        (
            ("--target", "seven"),
            "target 'seven' is a name, but no labels are known: give the number",
        ),
        (("--target", "77", "--confidence", "0.00001"), "no detection is of class 77; found are"),
    ],
)
def test_bad_input_at_the_edge_is_one_line(shipped, tmp_path, capsys, options, message):
    _, explainer, _ = shipped
    Image.fromarray(make_scene(5000, split="held-out", size=128).image).save(
        tmp_path / "street.png"
    )
    out = tmp_path / "out.png"
    status = main(
        ["run", str(explainer.path), str(tmp_path / "street.png"), *options, "-o", str(out)]
    )
    said = capsys.readouterr().err
    assert status == 2
    assert said.startswith("camport: error: ")
    assert message in said
    assert said.count("\n") == 1
    assert not out.exists()


def test_a_second_stages_file_is_told_which_boxes():
    adapter = {"name": "detection", "options": {"form": {"format": "candidates", "asked": True}}}
    with pytest.raises(
        ModelError,
        match="a detector's second stage, which looks at boxes and finds none: name a box",
    ):
        detections({"outputs": np.zeros((1, 1, 4))}, adapter, (64, 64))


@pytest.mark.everything
@pytest.mark.parametrize(
    "network",
    [
        lambda: Detector(ClassicHead()),
        lambda: Detector(FreeHead()),
        lambda: Transformer(softmax=True),
    ],
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
    result = explainer(
        other.numpy(), boxes=np.array(asked["boxes"], np.float32), class_ids=asked["class_ids"]
    )
    np.testing.assert_allclose(result.score, eager.score, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(result.heatmap, eager.heatmap, atol=1e-3)


class Stacked(torch.nn.Module):
    """Says beside its table what it said at each of its layers, [layers,b,n,values]:
    the batch is the second axis."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Detector(ClassicHead(alone=True))

    def forward(self, images):
        table = self.inner(images)
        return table, table[None]


@pytest.mark.everything
def test_outputs_may_have_their_batch_inside(tmp_path):
    model, images = awake(Stacked()).float(), photographs(2).float()
    bound = camport.bind(model, "layercam", adapter=DetectionAdapter(threshold=0.0, most=1))
    to_onnx(bound, tmp_path / "file.onnx", images)
    other = photographs(3, seed=9).float()
    result = load(tmp_path / "file.onnx")(other.numpy(), boxes=np.zeros((3, 4), np.float32))
    assert result.outputs_1.shape == (1, *result.outputs.shape) == (1, 3, 378, 9)
    np.testing.assert_array_equal(result.outputs_1[0], result.outputs)


def test_suppression_needs_a_table(tmp_path):
    bound = camport.bind(
        awake(Transformer(softmax=True)).float(),
        "layercam",
        adapter=DetectionAdapter(threshold=0.0, most=1),
    )
    with pytest.raises(
        ExportError,
        match="nms is for detectors whose outputs have the form yolov5 or yolov8, not 'detr'",
    ):
        to_onnx(bound, tmp_path / "file.onnx", photographs(2).float(), nms=True)
