"""A detector's outputs are read alike as tensors (camport.adapters.detection) and with NumPy
(camport.targets)."""

import dataclasses

import numpy as np
import pytest
import torch

from camport.adapters.detection.boxes import suppressed
from camport.adapters.detection.formats import Form
from camport.adapters.detection.formats import read as read_tensors
from camport.targets.boxes import FORMATS, detections, read

SIZE = (48, 64)  # not square: a frame with its sides exchanged shows


def table(columns, seed):
    """Candidates [1,7,columns] with centre, size, and numbers in [0,1] behind."""
    made = np.random.default_rng(seed).random((1, 7, columns)).astype(np.float32)
    made[..., :4] = made[..., :4] * 20 + 10
    return made


def relative(columns, seed):
    made = table(columns, seed)
    made[..., :4] /= 64
    return made


def end2end(seed):
    made = table(6, seed)
    made[..., 2:4] += made[..., :2]
    made[..., 5] = np.arange(7) % 3
    return made


def parts(seed, **kinds):
    random = np.random.default_rng(seed)
    boxes = random.random((1, 7, 4)).astype(np.float32)
    return {
        name: boxes if kind == "boxes" else random.random((1, 7, 3)).astype(np.float32)
        for name, kind in kinds.items()
    }


CASES = {
    "yolov5": (Form("yolov5"), table(8, 0)),
    "yolov5 with masks behind": (Form("yolov5", classes=2), table(8, 1)),
    "yolov8": (Form("yolov8"), table(7, 2).transpose(0, 2, 1)),
    "yolov8, rotated": (Form("yolov8", classes=3, angle=7), table(8, 3).transpose(0, 2, 1)),
    "rows": (Form("rows"), table(7, 4)),
    "rows in [0,1]": (Form("rows", relative=True), relative(7, 5)),
    "rows, rotated": (Form("rows", classes=3, angle=7), table(8, 6)),
    "end2end": (Form("end2end"), end2end(7)),
    "end2end in [0,1]": (
        Form("end2end", relative=True),
        np.concatenate([relative(4, 8), end2end(8)[..., 4:]], 2),
    ),
    "detr": (Form("detr"), parts(9, logits="classes", pred_boxes="boxes")),
    "detr with a softmax": (
        Form("detr", softmax=True),
        parts(10, logits="classes", pred_boxes="boxes"),
    ),
    "candidates": (
        Form("candidates"),
        parts(11, boxes="boxes", logits="classes", confidence="classes"),
    ),
    "candidates with a background": (
        Form("candidates", background=0),
        parts(12, boxes="boxes", logits="classes", confidence="classes"),
    ),
}


def both(case):
    """The outputs as the adapter sees them and as a file gives them: in order, as `outputs`,
    `outputs_1`, ..."""
    form, found = CASES[case]
    leaves = list(found.values()) if isinstance(found, dict) else [found]
    named = {"outputs" if i == 0 else f"outputs_{i}": leaf for i, leaf in enumerate(leaves)}
    tensors = (
        {k: torch.from_numpy(v) for k, v in found.items()}
        if isinstance(found, dict)
        else torch.from_numpy(found)
    )
    return read_tensors(tensors, form, SIZE), named, dataclasses.asdict(form)


@pytest.mark.parametrize("case", CASES)
def test_boxes_classes_and_confidence_are_equal(case):
    candidates, named, form = both(case)
    confidence, classes = candidates.best()
    boxes, scores, labels = read(named, form, SIZE, 0)
    np.testing.assert_allclose(boxes, candidates.boxes[0], rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(scores, confidence[0], rtol=1e-5)
    np.testing.assert_array_equal(labels, classes[0])
    assert boxes.std() > 0.1
    for label in range(2):
        _, sure, _ = read(named, form, SIZE, 0, label)
        np.testing.assert_allclose(sure, candidates.confident(torch.tensor([label]))[0], rtol=1e-5)


def test_every_form_is_compared():
    assert {form.format for form, _ in CASES.values()} == set(FORMATS)


@pytest.mark.parametrize("iou", [0.1, 0.45, 0.9])
def test_suppression_keeps_the_same(iou):
    random = np.random.default_rng(3)
    rows = random.random((1, 60, 6)).astype(np.float32)
    rows[..., :2] = rows[..., :2] * 30
    rows[..., 2:4] = rows[..., :2] + 10 + rows[..., 2:4] * 20
    rows[..., 5] = random.integers(0, 3, (1, 60))
    form = dataclasses.asdict(Form("end2end"))
    options = {"form": form, "threshold": 0.0, "iou": iou, "most": 60}
    found = detections({"outputs": rows}, {"name": "detection", "options": options}, SIZE)
    boxes, scores, labels = (torch.from_numpy(v) for v in read({"outputs": rows}, form, SIZE, 0))
    kept = suppressed(boxes, scores, labels, iou, 60)
    np.testing.assert_array_equal(found.boxes, boxes[kept])
    np.testing.assert_array_equal(found.class_ids, labels[kept])
    assert 3 < len(kept) < 60 or iou == 0.9
