"""Gradients of padding that repeats elements: reflection and replication."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from camport.export.rules.geometry import adjoint, positions
from camport.export.rules.registry import lowers


@lowers(
    "reflection_pad1d_backward.default",
    "reflection_pad2d_backward.default",
    "reflection_pad3d_backward.default",
)
def reflection_pad_backward(g: Tensor, x: Tensor, padding: Sequence[Any]) -> Tensor:
    """x̄ = Mᵀ ḡ, M[o, i] = [i = r(o - p)], r the reflection at 0 and at the last element."""

    def reflected(place: Tensor, last: Any) -> Tensor:
        return last - (place.abs() - last).abs()

    return _backward(g, x, padding, reflected)


@lowers(
    "replication_pad1d_backward.default",
    "replication_pad2d_backward.default",
    "replication_pad3d_backward.default",
)
def replication_pad_backward(g: Tensor, x: Tensor, padding: Sequence[Any]) -> Tensor:
    """x̄ = Mᵀ ḡ, M[o, i] = [i = min(max(o - p, 0), last)]."""

    def held(place: Tensor, last: Any) -> Tensor:
        return torch.minimum(torch.clamp(place, min=0), torch.zeros_like(place) + last)

    return _backward(g, x, padding, held)


def _backward(
    g: Tensor, x: Tensor, padding: Sequence[Any], source: Callable[[Tensor, Any], Tensor]
) -> Tensor:
    axes = len(padding) // 2
    matrices = []
    for axis in range(-axes, 0):
        before = padding[2 * (-axis - 1)]
        inputs = x.shape[axis]
        place = source(positions(g.shape[axis], g).unsqueeze(1) - before, inputs - 1)
        matrices.append((place == positions(inputs, g)).to(g.dtype))
    return adjoint(g, matrices)
