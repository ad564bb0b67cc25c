"""Layout: reshaping, transposing, joining and cutting."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from camport.errors import ModelError
from camport.models.onnx.registry import operator
from camport.models.onnx.small import Ints, Small, ints, optional_ints, product


@operator("Identity")
def identity(x: Tensor) -> Tensor:
    """x."""
    return x


@operator("Dropout")
def dropout(
    x: Tensor,
    ratio: Any = None,
    training_mode: Any = None,
    *,
    seed: int = 0,
    is_test: int = 1,
) -> Tensor:
    """x: a model is explained in evaluation mode."""
    return x


@operator("Shape")
def shape(x: Tensor, *, start: int = 0, end: int | None = None) -> Small:
    """The sizes of x as numbers, symbols among them."""
    return Small.of(list(x.shape)[start:end])


@operator("Size")
def size(x: Tensor) -> Small:
    """The number of elements of x."""
    return Small.of(product(x.shape))


@operator("Reshape", static=("shape",))
def reshape(x: Tensor, shape: Ints, *, allowzero: int = 0) -> Tensor:
    """x in another shape; 0 keeps an axis of x unless `allowzero`."""
    wanted = ints(shape)
    if not allowzero:
        wanted = [x.shape[i] if _is(n, 0) else n for i, n in enumerate(wanted)]
    return x.reshape(wanted)


@operator("Flatten")
def flatten(x: Tensor, *, axis: int = 1) -> Tensor:
    """x as a matrix, cut before `axis`."""
    axis = axis + x.dim() if axis < 0 else axis
    if axis == 1 and x.dim() > 1:
        return x.flatten(1)
    return x.reshape(product(x.shape[:axis]), product(x.shape[axis:]))


@operator("Transpose")
def transpose(x: Tensor, *, perm: Sequence[int] | None = None) -> Tensor:
    """The axes in another order, reversed by default."""
    return x.permute(tuple(perm) if perm is not None else tuple(reversed(range(x.dim()))))


@operator("Squeeze", static=("axes",))
def squeeze(x: Tensor, axes: Ints | None = None) -> Tensor:
    """Drops axes of size 1: those named, or all."""
    chosen = optional_ints(axes)
    if chosen is None:
        chosen = [i for i, n in enumerate(x.shape) if _is(n, 1)]
    # one by one, as the exporter knows it
    for axis in sorted((a % x.dim() for a in chosen), reverse=True):
        x = x.squeeze(axis)
    return x


@operator("Unsqueeze", static=("axes",))
def unsqueeze(x: Tensor, axes: Ints) -> Tensor:
    """Inserts axes of size 1 at places counted in the result."""
    chosen = ints(axes)
    rank = x.dim() + len(chosen)
    for axis in sorted(a % rank for a in chosen):
        x = x.unsqueeze(axis)
    return x


@operator("Concat")
def concat(*parts: Tensor, axis: int = 1) -> Tensor:
    """The inputs joined along an axis."""
    return torch.cat(parts, axis)


@operator("Split", static=("split",))
def split(
    x: Tensor,
    split: Ints | None = None,
    *,
    axis: int = 0,
    num_outputs: int | None = None,
    outputs: int = 1,
) -> tuple[Tensor, ...]:
    """Cuts an axis into parts of given or equal sizes; of equal ones the last may be smaller."""
    sizes = optional_ints(split)
    if sizes is None:
        parts = num_outputs or outputs
        each = -(-x.shape[axis] // parts)
        sizes = [each] * (parts - 1) + [x.shape[axis] - each * (parts - 1)]
    return torch.split(x, sizes, axis)


@operator("Slice", static=("starts", "ends", "axes", "steps"))
def slice_(
    x: Tensor, starts: Ints, ends: Ints, axes: Ints | None = None, steps: Ints | None = None
) -> Tensor:
    """A range along each of some axes, backwards for a negative step."""
    first, last = ints(starts), ints(ends)
    where = optional_ints(axes) or list(range(len(first)))
    step = optional_ints(steps) or [1] * len(first)
    cuts: list[Any] = [slice(None)] * x.dim()
    for start, end, axis, by in zip(first, last, where, step, strict=True):
        if by == 0:
            raise ModelError("a Slice has a step of 0")
        if by < 0:
            n = x.shape[axis]
            # counted from the other end, the same range runs forwards
            start = min(start + n if start < 0 else start, n - 1)
            end = max(end + n if end < 0 else min(end, n), -1)
            x, start, end, by = x.flip(axis), n - 1 - start, n - 1 - end, -by
        cuts[axis] = slice(start, end, by)
    return x[tuple(cuts)]


@operator("Expand", static=("shape",))
def expand(x: Tensor, shape: Ints) -> Tensor:
    """Broadcast x against a shape: an axis of 1 in the shape keeps that of x."""
    wanted = ints(shape)
    rank = max(x.dim(), len(wanted))
    have = [1] * (rank - x.dim()) + list(x.shape)
    wanted = [1] * (rank - len(wanted)) + wanted
    return x.expand([h if _is(w, 1) else w for h, w in zip(have, wanted, strict=True)])


@operator("Tile", static=("repeats",))
def tile(x: Tensor, repeats: Ints) -> Tensor:
    """x repeated along each axis."""
    return x.repeat(ints(repeats))


def _is(size: Any, value: int) -> bool:
    """Whether a size is this number. A symbol is not: it stands for sizes above 1."""
    return isinstance(size, int) and size == value
