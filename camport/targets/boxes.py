"""The detections in a detector's outputs: candidates read by the form that an exported file names,
the best kept.

The twin of `camport.adapters.detection.formats`, which reads them as tensors that keep their
gradients; tests/adapters/test_one_reader.py holds the two equal. Their suppression is
`camport.export.onnx_file.nms` as a graph; tests/export/test_suppression.py holds the three equal.
The words of a form are here, for both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from camport.errors import InputError, ModelError

__all__ = ["Detections", "confident", "detections"]

UNCLIPPED = 1e-3
"""Weight of the overlap of boxes as they are, beside that of boxes clipped to the image,
in the match."""
FORMATS: dict[str, str] = {
    "yolov5": (
        "[b,n,5+k]: centre, size, objectness, probabilities; raw maps [b,a,h,w,5+k] may stand"
        " beside it; so have YOLOX and YOLOv6"
    ),
    "yolov8": "[b,4+k,n]: centre, size, probabilities; logits or raw maps may stand beside it",
    "rows": "[b,n,4+k]: the same, a candidate a row; boxes in pixels or in [0,1]",
    "end2end": (
        "[b,n,6 or more]: left, top, right, bottom in pixels, or centre and size in [0,1]; score,"
        " class"
    ),
    "detr": "logits [b,n,k] and pred_boxes [b,n,4]: centre and size in [0,1]",
    "candidates": "a dictionary of boxes [b,n,4] in pixels, logits [b,n,k] and confidence [b,n,k]",
}
"""Each form by the name that `format=` takes."""


@dataclass(frozen=True)
class Detections:
    """What was found in one image, best first.

    Attributes:
        boxes: float32 [k,4], left, top, right, bottom in pixels of the network's input.
        class_ids: int64 [k].
        confidence: float32 [k].
    """

    boxes: np.ndarray
    class_ids: np.ndarray
    confidence: np.ndarray


def detections(
    result: Mapping[str, np.ndarray],
    adapter: Mapping[str, Any],
    size: tuple[int, int],
    *,
    image: int = 0,
    confidence: float | None = None,
) -> Detections:
    """The detections of one image of a run, after non-maximum suppression.

    ```python
    found = detections(result, explainer.metadata["adapter"], images.shape[2:])
    maps = explainer(images.repeat(len(found.boxes), 0), boxes=found.boxes,
                     class_ids=found.class_ids).heatmap
    ```

    Args:
        result: of a run, with the model's `outputs` among its arrays.
        adapter: the file's metadata of this name: how its outputs are read, and the thresholds.
        size: (height, width) of the network's input.
        image: which image of the batch.
        confidence: in place of the file's own threshold.

    Raises:
        ModelError: a file whose outputs are not a detector's, or without them.
        InputError: no detection is confident enough.
    """
    options = adapter.get("options", {})
    form = options.get("form") or {}
    if (
        adapter.get("name") != "detection"
        or form.get("format") not in FORMATS
        or "outputs" not in result
    ):
        raise ModelError(
            "the file does not tell how to read detections in its outputs: name a box instead"
        )
    if form.get("asked"):
        raise ModelError(
            "the file holds a detector's second stage, which looks at boxes and finds none: name"
            " a box"
        )
    boxes, scores, labels = read(result, form, size, image)
    # torchvision clips boxes to the image before it suppresses, YOLO packages suppress first
    compared = _within(boxes, size) if form["format"] == "candidates" else boxes
    threshold = options.get("threshold", 0.25) if confidence is None else confidence
    likely = np.flatnonzero(scores >= threshold)
    if not len(likely):
        best = float(scores.max(initial=0))
        raise InputError(
            f"no detection reaches a confidence of {threshold:g}, the best has {best:.2g}; lower it"
        )
    order = likely[np.argsort(-scores[likely], kind="stable")][:1000]
    kept: list[int] = []
    for i in order:
        rivals = [j for j in kept if labels[j] == labels[i]]
        if not rivals or _overlap(compared[i], compared[rivals]).max() <= options.get("iou", 0.45):
            kept.append(int(i))
        if len(kept) == options.get("most", 10):
            break
    return Detections(
        boxes[kept].astype(np.float32),
        labels[kept].astype(np.int64),
        scores[kept].astype(np.float32),
    )


def confident(
    result: Mapping[str, np.ndarray],
    adapter: Mapping[str, Any],
    size: tuple[int, int],
    boxes: np.ndarray,
    class_ids: np.ndarray,
) -> Detections:
    """The candidates that a run explained, one a row:
    those that match the boxes and classes asked about.

    Where outputs cannot be read, the boxes themselves, with a confidence of 1.
    """
    form = adapter.get("options", {}).get("form") or {}
    if form.get("format") not in FORMATS or form.get("asked") or "outputs" not in result:
        return Detections(boxes, np.asarray(class_ids), np.ones(len(boxes), np.float32))
    rows = []
    for row, (box, label) in enumerate(zip(boxes, class_ids, strict=True)):
        # one image may have been asked about all boxes
        image = row if len(result["outputs"]) > 1 else 0
        own, scores, labels = read(result, form, size, image, None if label < 0 else int(label))
        asked = np.asarray(box, np.float32)
        reached = _overlap(
            _within(asked[None], size)[0], _within(own, size)
        ) + UNCLIPPED * _overlap(asked, own)
        best = int((reached * scores).argmax())
        rows.append((own[best], labels[best], scores[best]))
    found = [np.stack(column) for column in zip(*rows, strict=True)]
    return Detections(
        found[0].astype(np.float32), found[1].astype(np.int64), found[2].astype(np.float32)
    )


def chosen(
    result: Mapping[str, np.ndarray],
    adapter: Mapping[str, Any],
    size: tuple[int, int],
    confidence: float | None,
    label: int | None,
    named: str | None,
) -> tuple[np.ndarray, np.ndarray]:
    """The boxes and classes of what a run found, or of one class of it;
    arguments and errors as `detections`.

    Args:
        label: the class; None: all of them.
        named: as the user called it.
    """
    found = detections(result, adapter, size, confidence=confidence)
    rows = np.arange(len(found.boxes)) if label is None else of_class(found.class_ids, label, named)
    return found.boxes[rows], found.class_ids[rows]


def of_class(
    classes: np.ndarray, label: int, named: str | None, labels: Sequence[str] = ()
) -> np.ndarray:
    """The rows of one class; InputError where there are none."""
    rows = np.flatnonzero(classes == label)
    if not len(rows):
        there: Any = sorted(set(classes.tolist()))
        if labels:
            there = ", ".join(labels[c] if c < len(labels) else str(c) for c in there)
        raise InputError(f"no detection is of class {named}; found are: {there}")
    return rows


def found_by_file(
    result: Mapping[str, np.ndarray], label: int | None, confidence: float | None
) -> tuple[Detections, np.ndarray]:
    """What a file that suppresses and explains by itself found, best first,
    and the rows of its maps.

    Raises:
        InputError: nothing is of the class, or as confident.
    """
    found = result["detections"]
    sure = found[:, 5] >= (0 if confidence is None else confidence)
    rows = np.flatnonzero(sure if label is None else sure & (found[:, 6] == label))
    if not len(rows):
        raise InputError(
            f"the file finds {len(found)} things, but none of the class and confidence that were"
            " asked for"
        )
    return Detections(found[rows, 1:5], found[rows, 6].astype(np.int64), found[rows, 5]), rows


def read(
    result: Mapping[str, np.ndarray],
    form: Mapping[str, Any],
    size: tuple[int, int],
    image: int,
    label: int | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes [n,4], and the confidence and number of each one's best class,
    or of the class `label`."""
    kind, k = form["format"], form.get("classes")
    frame = np.array([size[1], size[0]] * 2, np.float32)
    if kind == "candidates":
        boxes, _, p = (result[name][image] for name in ("outputs", "outputs_1", "outputs_2"))
        if form.get("background") is not None:
            p = np.where(np.arange(p.shape[1]) == form["background"] % p.shape[1], 0, p)
    elif kind == "detr":
        tables = [
            v[image] for name, v in result.items() if name.startswith("outputs") and v.ndim == 3
        ]
        boxes = next(t for t in tables if t.shape[1] == 4)
        logits = next(t for t in tables if t is not boxes)
        boxes = _corners(boxes) * frame
        if form.get("softmax"):
            raised = np.exp(logits - logits.max(1, keepdims=True))
            p = (raised / raised.sum(1, keepdims=True))[:, :-1]
        else:
            p = 1 / (1 + np.exp(-logits))
    else:
        table = next(v for name, v in result.items() if name.startswith("outputs") and v.ndim == 3)[
            image
        ]
        table = table.T if kind == "yolov8" else table
        upright = table[:, :4]
        if form.get("angle") is not None:
            upright = _enclosing(upright, table[:, form["angle"], None])
        corners = kind == "end2end" and not form.get("relative") and form.get("angle") is None
        boxes = upright if corners else _corners(upright)
        boxes = boxes * frame if form.get("relative") else boxes
        if kind == "end2end":
            labels = table[:, 5].round().astype(np.int64)
            return boxes, table[:, 4] * (label is None or labels == label), labels
        p = table[:, 4:5] * table[:, 5:][:, :k] if kind == "yolov5" else table[:, 4:][:, :k]
    if label is not None:
        return boxes, p[:, label], np.full(len(p), label)
    return boxes, p.max(1), p.argmax(1)


def _enclosing(boxes: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Centre and size of the upright boxes around rotated ones, as
    `camport.adapters.detection.rotated.enclosing`."""
    sides = boxes[:, 2:4]
    size = sides * np.abs(np.cos(angle)) + sides[:, ::-1] * np.abs(np.sin(angle))
    return np.concatenate([boxes[:, :2], size], 1)


def _corners(boxes: np.ndarray) -> np.ndarray:
    return np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], 1)


def _within(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Boxes clipped to the image of (height, width);
    one that lies outside as a whole stays as it is."""
    inside = np.clip(boxes, 0, np.array([size[1], size[0]] * 2, np.float32))
    there = (inside[:, 2:] > inside[:, :2]).all(1)
    return np.asarray(np.where(there[:, None], inside, boxes))


def _overlap(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    shared = np.clip(sides, 0, None).prod(1)
    areas = [np.clip(b[..., 2:] - b[..., :2], 0, None).prod(-1) for b in (box, others)]
    union = areas[0] + areas[1] - shared
    return np.asarray(shared / np.where(union > 0, union, 1))
