"""What the rules of sliding and resampling operators share:
sizes per axis and separable linear maps."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def per_axis(value: Sequence[Any] | int, axes: int) -> list[Any]:
    """One number an axis: PyTorch lets a single one stand for all."""
    values = [value] if isinstance(value, int) else list(value)
    return values * axes if len(values) == 1 else values


def is_static(*values: Any) -> bool:
    """Whether no value is symbolic."""
    return all(isinstance(value, int) for value in values)


def adjoint(gradient: Tensor, matrices: Sequence[Tensor | None]) -> Tensor:
    """Mᵀg along each trailing axis: the gradient of x ↦ Mx, M of shape [outputs, inputs] (None:
    identity).

    Pooling and resampling are such maps, one matrix an axis, whatever their strides, padding or
    rounding.
    """
    for axis, matrix in zip(range(-len(matrices), 0), matrices, strict=True):
        if matrix is None:
            continue
        if axis == -1:
            gradient = torch.matmul(gradient, matrix)
        elif axis == -2:
            gradient = torch.matmul(matrix.transpose(0, 1), gradient)
        else:
            moved = torch.matmul(gradient.transpose(axis, -1), matrix)
            gradient = moved.transpose(axis, -1)
    return gradient


def positions(size: Any, like: Tensor) -> Tensor:
    """0, 1, ..., size - 1 in the type of `like`."""
    return torch.arange(size, dtype=like.dtype, device=like.device)


def window_matrix(begin: Tensor, end: Tensor, inputs: Any) -> Tensor:
    """M[o, i] = 1 where begin[o] ≤ i < end[o], else 0."""
    i = positions(inputs, begin).unsqueeze(0)
    return torch.logical_and(i >= begin.unsqueeze(1), i < end.unsqueeze(1)).to(begin.dtype)
