"""A file's own suppression finds what PyTorch finds: the same rows, boxes and classes,
in the same order."""

import dataclasses
import json

import numpy as np
import pytest
import torch

import camport
from camport.adapters import DetectionAdapter
from camport.adapters.detection.calls import Seen
from camport.adapters.detection.formats import Form
from camport.demo.detector import CARD
from camport.demo.detector import load as load_detector
from camport.demo.scenes import make_scene
from camport.errors import InputError
from camport.export import to_onnx
from camport.export.onnx_file.nms import suppression
from camport.export.onnx_file.ort import session
from camport.runtime import detections, load

SIZE = (400, 400)


def tables(form: str, n: int, k: int, images: int = 3, seed: int = 0) -> np.ndarray:
    """Candidates that overlap much and are sure of several classes; confidences of two digits,
    so that many tie."""
    generator = np.random.default_rng(seed)
    parts = [generator.uniform(0, 300, (images, n, 2)), generator.uniform(5, 80, (images, n, 2))]
    parts += [generator.uniform(0, 1, (images, n, 1))] if form == "yolov5" else []
    parts += [(generator.uniform(0, 1, (images, n, k)) ** 4).round(2)]
    table = np.concatenate(parts, 2).astype(np.float32)
    return np.ascontiguousarray(table if form == "yolov5" else table.transpose(0, 2, 1))


def found_by(adapter: DetectionAdapter, table: np.ndarray) -> tuple[np.ndarray, dict]:
    """The detections of the file's part alone, and the adapter as a file's metadata tell it."""
    options = {**dataclasses.asdict(adapter), "form": dataclasses.asdict(adapter.form)}
    meta = {"name": "detection", "options": options}
    part = suppression({"camport.adapter": json.dumps(meta)})
    return session(part.SerializeToString()).run(None, {"outputs": table})[0], meta


@pytest.mark.parametrize("form", ["yolov5", "yolov8"])
@pytest.mark.parametrize(
    ("n", "k", "threshold", "iou", "most"),
    [
        (300, 4, 0.25, 0.45, 10),  # 10 in all, not of each class
        (3000, 20, 0.3, 0.6, 300),  # no more than the best 1000 are looked at
        (50, 3, 0.0, 0.45, 10),  # a confidence of 0 reaches 0
        (5, 2, 0.05, 0.3, 1),
    ],
)
def test_rows_are_pytorchs(
    form: str, n: int, k: int, threshold: float, iou: float, most: int
) -> None:
    adapter = DetectionAdapter(threshold=threshold, iou=iou, most=most, form=Form(form, k))
    table = tables(form, n, k)
    rows, meta = found_by(adapter, table)
    for image in range(len(table)):
        eager = adapter.listed(Seen(torch.from_numpy(table[image : image + 1]), SIZE))
        own = rows[rows[:, 0] == image]
        assert own[:, 6].tolist() == eager["class_ids"].tolist()
        np.testing.assert_allclose(own[:, 1:5], eager["boxes"], atol=1e-3)
        edge = detections({"outputs": table}, meta, SIZE, image=image)
        assert edge.class_ids.tolist() == eager["class_ids"].tolist()
        np.testing.assert_allclose(edge.boxes, eager["boxes"], atol=1e-3)
        np.testing.assert_allclose(own[:, 5], edge.confidence, atol=1e-6)
        assert (np.diff(own[:, 5]) <= 0).all()
    assert rows[:, 0].tolist() == sorted(rows[:, 0].tolist())


def test_a_candidate_stands_for_its_best_class_alone() -> None:
    table = np.array(
        [[[50, 50, 20, 20, 0.386, 0.599], [150, 50, 20, 20, 0.7, 0.69]]], np.float32
    ).transpose(0, 2, 1)
    rows, _ = found_by(DetectionAdapter(form=Form("yolov8", 2)), np.ascontiguousarray(table))
    expected = [[0, 140, 40, 160, 60, 0.7, 0], [0, 40, 40, 60, 60, 0.599, 1]]
    np.testing.assert_allclose(rows, expected, atol=1e-5)


@pytest.mark.parametrize("form", ["yolov5", "yolov8"])
def test_nothing_is_confident(form: str) -> None:
    rows, _ = found_by(
        DetectionAdapter(threshold=1.0, form=Form(form, 4)), tables(form, 40, 4) * np.float32(0.9)
    )
    assert rows.shape == (0, 7)


def scene(seed: int) -> torch.Tensor:
    pixels = (
        torch.from_numpy(make_scene(seed, split="held-out", size=128).image).permute(2, 0, 1)[None]
        / 255
    )
    mean, std = (torch.tensor(values)[:, None, None] for values in (CARD.mean, CARD.std))
    return ((pixels - mean) / std).float()


@pytest.mark.everything
@pytest.mark.filterwarnings("ignore::camport.errors.CamportWarning")
def test_the_demo_detectors_file_finds_what_pytorch_finds(tmp_path) -> None:
    """Scenes with candidates that are sure of two classes at once, such as 800114."""
    bound = camport.bind(load_detector(), adapter=DetectionAdapter(threshold=0.1, most=4))
    path = tmp_path / "found.onnx"
    to_onnx(bound, path, torch.cat([scene(5000), scene(5001)]), one_image=True, nms=True)
    explainer = load(path)
    several = 0
    for seed in range(800100, 800125):
        image = scene(seed)
        try:
            eager = bound(image)
        except InputError:
            assert explainer(image.numpy()).detections.shape == (0, 7)
            continue
        result = explainer(image.numpy())
        several += len(eager.target) > 1
        assert result.detections[:, 6].tolist() == eager.target.tolist(), seed
        np.testing.assert_allclose(result.detections[:, 1:5], eager.figures["boxes"], atol=1e-2)
        np.testing.assert_allclose(result.detections[:, 5], eager.figures["confidence"], atol=1e-4)
        np.testing.assert_allclose(result.heatmap, eager.heatmap, atol=1e-3)
    assert several > 15
