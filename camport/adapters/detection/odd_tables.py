"""Tables that look like one of the forms and are not: refused by what is odd in them."""

from typing import Any

import torch
from torch import Tensor

from camport.adapters.detection.formats import REMEDY, Form
from camport.adapters.reading import described
from camport.errors import ModelError

BOX = 4
MANY = 20
"""Of as many candidates, some of them right of the middle,
one has a width less than the place of its centre."""
ROUNDING = 1e-3


def check_joined(outputs: Any, found: Tensor) -> None:
    """ModelError where `found` is [b,n,4] or, of two tables, [b,4,n]: boxes alone;
    or the scores beside them."""
    tables = [v for v in torch.utils._pytree.tree_leaves(outputs) if _is_table(v)]
    other = next((v for v in tables if v is not found), None) if len(tables) == 2 else None
    beside = other is not None and (
        (other.shape[2] == BOX and other.shape[1] == found.shape[1])
        or (found.shape[1] == BOX and other.shape[2] == found.shape[2])
    )
    if found.shape[2] == BOX or beside:
        raise ModelError(
            f"the model returned {described(outputs)}: boxes apart from their scores, not"
            f" read{REMEDY}"
        )


def check_table(outputs: Any, found: Tensor, form: Form, size: tuple[int, int]) -> None:
    """ModelError for class columns that are no probabilities,
    and for boxes that are corners already."""
    if form.format not in ("yolov5", "yolov8", "rows"):
        return
    rows = (found.mT if form.format == "yolov8" else found).detach()
    columns = (form.classes or 0) + (form.format == "yolov5")
    scores = rows[:, :, BOX : BOX + columns]
    least, most = float(scores.min()), float(scores.max())
    if least < -ROUNDING or most > 1 + ROUNDING:
        raise ModelError(
            f"the model returned {described(outputs)}, of which the {columns} columns behind the"
            f" box are read as probabilities (the form {form.format}) and run from {least:.3g} to"
            f" {most:.3g}; logits are not read: return them behind a sigmoid; where fewer columns"
            " are classes, give classes="
        )
    wide = (rows[:, :, 2] > rows[:, :, 0]) & (rows[:, :, 3] > rows[:, :, 1])
    height, width = (1, 1) if form.relative else size
    spread = bool(rows[:, :, 0].max() > width / 2) and bool(rows[:, :, 1].max() > height / 2)
    if form.angle is None and rows.shape[1] > MANY and spread and bool(wide.all()):
        raise ModelError(
            f"the model returned {described(outputs)}, whose boxes are read as centre and size"
            f" ({form.format}), and every one's third and fourth number is larger than its first"
            f" and second: they are corners, left, top, right and bottom, not read{REMEDY}"
        )


def _is_table(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dim() == 3 and value.is_floating_point()
