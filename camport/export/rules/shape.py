"""Gradients of operators that move elements: slices, selections, gathers, embeddings."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from camport.export.rules.registry import lowers


@lowers("slice_backward.default")
def slice_backward(
    g: Tensor, sizes: Sequence[Any], dim: int, start: Any, end: Any, step: Any
) -> Tensor:
    """Zeros around ḡ, and between its elements where the slice skips some."""
    dim %= len(sizes)
    size = sizes[dim]
    if isinstance(start, int) and start < 0:
        start = start + size
    if isinstance(start, int) and isinstance(size, int):
        start = max(0, min(start, size))
    taken = g.shape[dim]
    if step != 1:
        g = F.pad(g.unsqueeze(dim + 1), _pads(len(sizes) + 1, dim + 1, 0, step - 1))
        g = g.flatten(dim, dim + 1).narrow(dim, 0, (taken - 1) * step + 1)
    return F.pad(g, _pads(len(sizes), dim, start, size - start - g.shape[dim]))


@lowers("select_backward.default")
def select_backward(g: Tensor, sizes: Sequence[Any], dim: int, index: Any) -> Tensor:
    """Zeros around ḡ along the axis that was selected from."""
    dim %= len(sizes)
    if isinstance(index, int) and index < 0:
        index = index + sizes[dim]
    return F.pad(g.unsqueeze(dim), _pads(len(sizes), dim, index, sizes[dim] - 1 - index))


def _pads(rank: int, dim: int, before: Any, after: Any) -> list[Any]:
    """`F.pad`'s list, last axis first, with room on axis `dim` alone."""
    return [0, 0] * (rank - 1 - dim) + [before, after]


@lowers("value_selecting_reduction_backward.default")
def selecting_reduction_backward(
    g: Tensor, dim: int, indices: Tensor, sizes: Sequence[Any], keepdim: bool
) -> Tensor:
    """ḡ at the place that max, min, median or kthvalue took, zero elsewhere: ḡ · [i = index]."""
    if not sizes:
        return g
    dim %= len(sizes)
    if not keepdim:
        g, indices = g.unsqueeze(dim), indices.unsqueeze(dim)
    places = torch.arange(sizes[dim], device=g.device).reshape([-1] + [1] * (len(sizes) - 1 - dim))
    return torch.where(places == indices, g, 0)


@lowers("embedding_dense_backward.default", unless=lambda *args: args[4])
def embedding_backward(
    g: Tensor, indices: Tensor, rows: int, padding: int, by_frequency: bool
) -> Tensor:
    """w̄[r] = Σ ḡ[t] over the tokens t with index r, as onehotᵀ ḡ."""
    flat = indices.reshape(-1, 1)
    taken = flat == torch.arange(rows, device=g.device)
    if padding >= 0:
        taken = torch.logical_and(taken, flat != padding)
    return torch.matmul(taken.to(g.dtype).transpose(0, 1), g.reshape(-1, g.shape[-1]))
