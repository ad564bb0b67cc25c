"""Boxes as tensors: their forms, their overlap,
and the suppression of those that overlap a better one."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def corners(boxes: Float[Tensor, "*n 4"]) -> Float[Tensor, "*n 4"]:
    """(centre x, centre y, width, height) as (left, top, right, bottom)."""
    centre, half = boxes[..., :2], boxes[..., 2:4] / 2
    return torch.cat([centre - half, centre + half], -1)


def area(boxes: Float[Tensor, "*n 4"]) -> Float[Tensor, "*n"]:
    """Width times height; 0 where a side is not positive."""
    return (boxes[..., 2] - boxes[..., 0]).relu() * (boxes[..., 3] - boxes[..., 1]).relu()


def within(boxes: Float[Tensor, "*n 4"], frame: Float[Tensor, "*m 4"]) -> Float[Tensor, "*n 4"]:
    """Boxes clipped to the image, as detectors report them; `frame` is (width, height, width,
    height).

    A box that lies outside as a whole stays as it is: clipped it would be empty and overlap
    nothing.
    """
    inside = torch.minimum(boxes.relu(), frame)
    return torch.where((area(inside) > 0)[..., None], inside, boxes)


def overlap(one: Float[Tensor, "*n 4"], other: Float[Tensor, "*n 4"]) -> Float[Tensor, "*n"]:
    """Intersection over union, 0 to 1, of boxes (left, top, right, bottom) that broadcast;
    0 where both are empty."""
    left, top = torch.maximum(one[..., 0], other[..., 0]), torch.maximum(one[..., 1], other[..., 1])
    right, bottom = (
        torch.minimum(one[..., 2], other[..., 2]),
        torch.minimum(one[..., 3], other[..., 3]),
    )
    shared = (right - left).relu() * (bottom - top).relu()
    union = area(one) + area(other) - shared
    return shared / torch.where(union > 0, union, torch.ones_like(union))


def suppressed(
    boxes: Float[Tensor, "n 4"],
    scores: Float[Tensor, " n"],
    classes: Int[Tensor, " n"],
    threshold: float,
    most: int,
) -> Int[Tensor, " m"]:
    """Non-maximum suppression class by class: indices of the `most` best that are kept, best first.

    A box goes where one of its class with a higher score overlaps it by more than `threshold`. Not
    for tracing. Its twins are in `camport.targets.boxes`, with NumPy, and
    `camport.export.onnx_file.nms`, as a graph; tests/adapters/test_one_reader.py and
    tests/export/test_suppression.py hold them equal.
    """
    from torchvision.ops import nms

    wide = boxes.double()
    # boxes of different classes do not meet
    apart = classes[:, None] * (wide.max() - wide.min() + 1)
    return nms(wide + apart, scores.double(), threshold)[:most]
