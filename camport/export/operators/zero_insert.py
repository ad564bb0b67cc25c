"""Zeros between the values of a gradient: what a strided convolution's gradient begins with."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from camport.export.operators.registry import constant, own_operator


def zero_insert_form(op: Any, gradient: Any, stride: Sequence[int], size: Sequence[int]) -> Any:
    """Nearest resampling by the stride times a constant mask of ones at its multiples."""
    height, width = (int(n) for n in gradient.shape[2:])
    room = (height * stride[0], width * stride[1])
    repeated = op.Resize(
        gradient,
        None,
        op.Constant(value_floats=[1.0, 1.0, float(stride[0]), float(stride[1])]),
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )
    mask = np.zeros((1, 1, *room), np.float32)
    mask[..., :: stride[0], :: stride[1]] = 1
    result = op.Mul(repeated, op.CastLike(constant(op, mask), gradient))
    if any(n < m for n, m in zip(size, room, strict=True)):
        ends = [min(n, m) for n, m in zip(size, room, strict=True)]
        result = op.Slice(
            result,
            op.Constant(value_ints=[0, 0]),
            op.Constant(value_ints=ends),
            op.Constant(value_ints=[2, 3]),
        )
    if any(n > m for n, m in zip(size, room, strict=True)):
        after = [max(0, n - m) for n, m in zip(size, room, strict=True)]
        result = op.Pad(result, op.Constant(value_ints=[0, 0, 0, 0, 0, 0, *after]))
    return result


@own_operator(
    "zero_insert(Tensor gradient, int[] stride, SymInt[] size) -> Tensor",
    lambda gradient, stride, size: gradient.new_empty((*gradient.shape[:2], *size)),
    zero_insert_form,
)
def zero_insert(gradient: Tensor, stride: list[int], size: list[int]) -> Tensor:
    """z[..., i·s] = g[..., i], zero elsewhere, cut or padded with zeros to `size`."""
    spatial = gradient.shape[2:]
    room = [max(n, m * s) for n, m, s in zip(size, spatial, stride, strict=True)]
    z = gradient.new_zeros((*gradient.shape[:2], *room))
    places: Any = (..., *(slice(0, n * s, s) for n, s in zip(spatial, stride, strict=True)))
    kept: Any = (..., *(slice(0, n) for n in size))
    z[places] = gradient
    return z[kept].contiguous()
