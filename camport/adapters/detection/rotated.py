"""Rotated boxes: centre, size and an angle in a column behind the classes,
as YOLO's OBB heads have them.

They are matched, suppressed and reported by the upright box that encloses them.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

END2END = 7
"""Columns of an end-to-end table of rotated boxes: centre, size, score, class, angle."""


def enclosing(boxes: Float[Tensor, "*n 4"], angle: Float[Tensor, "*n 1"]) -> Float[Tensor, "*n 4"]:
    """(centre, width, height) of the upright boxes around those that are turned by `angle`,
    in radians."""
    cosine, sine = angle.cos().abs(), angle.sin().abs()
    size = boxes[..., 2:4]
    return torch.cat([boxes[..., :2], size * cosine + size.flip(-1) * sine], -1)


def angle_column(found: Tensor, format: str, classes: int | None) -> int | None:
    """The column of a table that is an angle; None where the boxes are upright.

    Args:
        found: the table of one image, [b,columns,n] in the form "yolov8", else [b,n,columns].
        format: its form.
        classes: how many classes the model names; None where it names none, and then no angle can
            be told.
    """
    rows = found.transpose(1, 2) if format == "yolov8" else found
    if format == "end2end":
        column = 6 if rows.shape[2] == END2END else None
    else:
        alone = (
            format in ("yolov8", "rows")
            and classes is not None
            and rows.shape[2] == 4 + classes + 1
        )
        column = 4 + (classes or 0) if alone else None
    # mask coefficients and key points come in greater numbers than one,
    # and these reach beyond a turn
    return (
        column
        if column is not None and float(rows[:, :, column].abs().max()) <= 2 * math.pi
        else None
    )
