"""The forms in which detectors answer, each read as candidates: tensors, that keep their gradients.

The twin of `camport.targets.boxes`, which reads the same with NumPy;
tests/adapters/test_one_reader.py holds the two equal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from camport.adapters.detection.boxes import corners
from camport.adapters.detection.candidates import Candidates, inverse_sigmoid
from camport.adapters.detection.rotated import enclosing
from camport.adapters.reading import described
from camport.errors import ModelError
from camport.targets.boxes import FORMATS as FORMATS

REMEDY = (
    "; explain it inside a module that returns its candidates before suppression: a dictionary of"
    " boxes [b,n,4] (left, top, right, bottom in pixels), logits [b,n,k] and confidence [b,n,k]"
)


@dataclass(frozen=True)
class Form:
    """How to read a detector's outputs; made by `camport.adapters.detection.recognise.recognised`.

    Attributes:
        format: a name in FORMATS.
        classes: how many columns are classes; None: all behind the box. Those behind (mask
            coefficients, key points) are not read.
        angle: the column with the angle of rotated boxes, which are read as the upright boxes
            around them; of the form "end2end" the boxes are centre and size then. None: boxes are
            upright.
        softmax: probabilities of the form "detr" are a softmax, and the last class is "no object".
        relative: boxes of the forms "rows" and "end2end" are centre and size in [0,1] of the image.
        background: the class of the form "candidates" that means "no object".
        asked: candidates are the boxes that were asked about, in their order: a second stage's.
        queries: how many tokens a transformer of the form "detr" asks with; 0 for the other forms.
        rival: the form that the outputs may have as well, which nothing decides; None where there
            is none.
        beside: which of the logits beside a table of the form "yolov8" (`logits_beside`) it is made
            of; None: of none.
    """

    format: str
    classes: int | None = None
    softmax: bool = False
    relative: bool = False
    background: int | None = None
    asked: bool = False
    queries: int = 0
    beside: int | None = None
    angle: int | None = None
    rival: str | None = None


def read(outputs: Any, form: Form, size: tuple[int, int]) -> Candidates:
    """The candidates in `outputs` for images of `size`, (height, width);
    ModelError where they are not of the form."""
    if form.format == "candidates":
        boxes, logits, confidence, objectness = (
            part(outputs, name) for name in ("boxes", "logits", "confidence", "objectness")
        )
        return Candidates(boxes, logits, confidence, objectness, background=form.background)
    if form.format == "detr":
        return _detr(outputs, form, size)
    if form.format == "yolov8":
        return _yolov8(outputs, form)
    if form.format == "yolov5":
        return _yolov5(outputs, form)
    rows = table(outputs)
    if form.format == "end2end":
        score = rows[:, :, 4:5]
        boxes = (
            rows[:, :, :4]
            if not form.relative and form.angle is None
            else corners(_upright(rows, form))
        )
        boxes = boxes * frame_of(size, rows) if form.relative else boxes
        return Candidates(
            boxes, inverse_sigmoid(score), score, labels=rows[:, :, 5].round().to(torch.int64)
        )
    boxes = corners(_upright(rows, form))
    if form.relative:
        boxes = boxes * frame_of(size, boxes)
    confidence = rows[:, :, 4:][:, :, : form.classes]
    return Candidates(boxes, inverse_sigmoid(confidence), confidence)


def table(outputs: Any) -> Tensor:
    """The first tensor of three axes in the outputs."""
    for leaf in torch.utils._pytree.tree_leaves(outputs):
        if isinstance(leaf, Tensor) and leaf.dim() == 3 and leaf.is_floating_point():
            return leaf
    raise ModelError(
        f"the model returned {described(outputs)}; the detection adapter finds no candidates in"
        f" it{REMEDY}"
    )


def part(outputs: Any, name: str) -> Any:
    """The entry or attribute of this name, None where there is none."""
    if isinstance(outputs, Mapping):
        return outputs.get(name)
    return getattr(outputs, name, None)


def logits_beside(outputs: Any, k: int, n: int) -> list[Tensor]:
    """Class logits [b,k,n] that stand beside a table: in dictionaries as `scores`,
    or in the head's raw maps.

    A head with two branches gives those of both, and which of them its table is made of the values
    tell.
    """
    found = []
    for node in parts(outputs):
        scores = node.get("scores") if isinstance(node, Mapping) else None
        if isinstance(scores, Tensor) and scores.dim() == 3 and tuple(scores.shape[1:]) == (k, n):
            found.append(scores)
        if isinstance(node, list | tuple) and len(node) > 1 and all(_is_map(v) for v in node):
            channels = {v.shape[1] for v in node}
            if (
                len(channels) == 1
                and channels.pop() > k
                and sum(v.shape[2] * v.shape[3] for v in node) == n
            ):
                found.append(torch.cat([v.flatten(2) for v in node], 2)[:, -k:])
    return found


def raw_maps(outputs: Any, columns: int) -> list[Tensor]:
    """The head's raw maps [b,a,h,w,columns] of the classic form, in order;
    none where they are not given."""
    leaves = torch.utils._pytree.tree_leaves(outputs)
    return [v for v in leaves if isinstance(v, Tensor) and v.dim() == 5 and v.shape[4] == columns]


def parts(outputs: Any) -> Iterator[Any]:
    """`outputs` and all containers and tensors in it, from the outside in."""
    yield outputs
    if isinstance(outputs, Mapping):
        for value in outputs.values():
            yield from parts(value)
    elif isinstance(outputs, list | tuple):
        for value in outputs:
            yield from parts(value)


def _yolov5(outputs: Any, form: Form) -> Candidates:
    rows = table(outputs)
    k = form.classes if form.classes is not None else rows.shape[2] - 5

    def numbers(first: int, last: int) -> Tensor:
        raw = raw_maps(outputs, rows.shape[2])
        if not raw:
            return inverse_sigmoid(rows[:, :, first:last])
        return torch.cat([v[..., first:last].flatten(1, 3) for v in raw], 1)

    return Candidates(
        lambda: corners(rows[:, :, :4]),
        lambda: numbers(5, 5 + k),
        rows[:, :, 5 : 5 + k],
        lambda: numbers(4, 5)[:, :, 0],
        certainty=rows[:, :, 4],
    )


def _yolov8(outputs: Any, form: Form) -> Candidates:
    columns = table(outputs)
    k = form.classes if form.classes is not None else columns.shape[1] - 4
    confidence = columns[:, 4 : 4 + k]

    def logits() -> Tensor:
        if form.beside is None:
            return inverse_sigmoid(confidence).transpose(1, 2)
        return logits_beside(outputs, k, columns.shape[2])[form.beside].transpose(1, 2)

    return Candidates(
        lambda: corners(_upright(columns.transpose(1, 2), form)), logits, confidence.transpose(1, 2)
    )


def _upright(rows: Tensor, form: Form) -> Tensor:
    """Centre and size [b,n,4]; of rotated boxes those of the boxes around them."""
    if form.angle is None:
        return rows[:, :, :4]
    return enclosing(rows[:, :, :4], rows[:, :, form.angle : form.angle + 1])


def _detr(outputs: Any, form: Form, size: tuple[int, int]) -> Candidates:
    found = part(outputs, "logits")
    logits = part(outputs, "pred_logits") if found is None else found
    boxes = part(outputs, "pred_boxes")
    if logits is None or boxes is None:
        raise ModelError(f"the model returned {described(outputs)} without logits and pred_boxes")
    confidence = logits.softmax(2) if form.softmax else logits.sigmoid()
    scaled = corners(boxes)
    return Candidates(
        scaled * frame_of(size, scaled), logits, confidence, background=-1 if form.softmax else None
    )


def frame_of(size: tuple[int, int], like: Tensor) -> Tensor:
    """(width, height, width, height) of images of `size`, for each of the boxes `like`."""
    height, width = size
    ones = torch.ones_like(like[..., :1])
    return torch.cat([ones * width, ones * height, ones * width, ones * height], -1)


def _is_map(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dim() == 4
