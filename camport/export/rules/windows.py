"""Gradients of views into an axis: sliding windows and diagonals, as products with 0/1 matrices."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from camport.export.rules.geometry import positions
from camport.export.rules.registry import lowers


@lowers("unfold_backward.default")
def unfold_backward(g: Tensor, sizes: Sequence[Any], dim: int, size: int, step: int) -> Tensor:
    """x̄[i] = Σ ḡ[w, k] over the windows w and places k with step · w + k = i."""
    if not sizes:
        return g.reshape([])
    dim %= len(sizes)
    windows = g.shape[dim]
    flat = g.movedim(dim, -2).flatten(-2)  # [..., windows · size]
    place = (positions(windows, g).unsqueeze(1) * step + positions(size, g)).reshape(-1, 1)
    matrix = (place == positions(sizes[dim], g)).to(g.dtype)
    return torch.matmul(flat, matrix).movedim(-1, dim)


@lowers("diagonal_backward.default")
def diagonal_backward(g: Tensor, sizes: Sequence[Any], offset: int, dim1: int, dim2: int) -> Tensor:
    """x̄[i, j] = ḡ[k] where i = k + max(0, -offset) and j = k + max(0, offset), zero elsewhere."""
    dim1, dim2 = dim1 % len(sizes), dim2 % len(sizes)
    k = positions(g.shape[-1], g)
    rows = (positions(sizes[dim1], g).unsqueeze(1) == k + max(0, -offset)).to(g.dtype)
    columns = (k.unsqueeze(1) + max(0, offset) == positions(sizes[dim2], g)).to(g.dtype)
    result = torch.matmul(rows, g.unsqueeze(-1) * columns)
    return result.movedim((-2, -1), (dim1, dim2))
