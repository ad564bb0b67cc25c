"""Gradients of resampling. Linear, cubic and nearest resampling are one matrix an axis,
so the gradient is Mᵀ ḡ.

Output o reads the source coordinate u(o) = r (o + 1/2) - 1/2, or r o with aligned corners, r =
inputs / outputs or what PyTorch was given. Written with ranges and comparisons, the matrices are
right for symbolic sizes too.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from camport.export.rules.geometry import adjoint, is_static, positions
from camport.export.rules.registry import lowers

_CUBIC = -0.75
"""The parameter a of Keys' kernel, as PyTorch and ONNX's default have it."""


def source(outputs: Any, inputs: Any, align: bool, scale: float | None, like: Tensor) -> Tensor:
    """u(o), shape [outputs, 1]."""
    o = positions(outputs, like).unsqueeze(1)
    if align:
        ratio = (inputs - 1) / (outputs - 1) if not is_static(outputs) or outputs > 1 else 0.0
        return o * ratio
    ratio = 1 / scale if scale is not None and scale > 0 else inputs / outputs
    return (o + 0.5) * ratio - 0.5


def linear_matrix(u: Tensor, inputs: Any) -> Tensor:
    """M[o, i] = max(0, 1 - |u(o) - i|), u held inside."""
    u = torch.clamp(u, min=0)
    u = torch.minimum(u, positions(inputs, u)[-1:])
    return torch.relu(1 - (u - positions(inputs, u)).abs())


def cubic_matrix(u: Tensor, inputs: Any) -> Tensor:
    """M[o, i] = Σ w(u - j) over the four j around u(o) that, held inside, are i.
    w is Keys' cubic kernel."""
    low = torch.floor(u)
    t = u - low
    i = positions(inputs, u)
    last = i[-1:]
    a = _CUBIC
    total: Any = 0
    for offset in (-1, 0, 1, 2):
        d = (t - offset).abs()
        if offset in (0, 1):
            w = ((a + 2) * d - (a + 3)) * d * d + 1
        else:
            w = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
        place = torch.minimum(torch.clamp(low + offset, min=0), last)
        total = total + w * (place == i).to(u.dtype)
    return total


def nearest_matrix(
    outputs: Any, inputs: Any, scale: float | None, exact: bool, like: Tensor
) -> Tensor:
    """M[o, i] = [i = ⌊r o⌋], or ⌊r (o + 1/2)⌋ for the exact variant."""
    ratio = 1 / scale if scale is not None and scale > 0 else inputs / outputs
    o = positions(outputs, like).unsqueeze(1)
    i = positions(inputs, like)
    place = torch.minimum(torch.floor((o + (0.5 if exact else 0.0)) * ratio), i[-1:])
    return (place == i).to(like.dtype)


@lowers("camport::resize_grad.default")
def resize_backward(
    g: Tensor,
    shape: Sequence[Any],
    size: Sequence[Any],
    mode: str,
    align: bool,
    scales: Sequence[float] | None,
) -> Tensor:
    """Mᵀ ḡ with the matrices of `mode`; sums over blocks where nearest resampling repeats by a
    whole factor."""
    inputs, axes = list(shape[2:]), len(size)
    whole = is_static(*inputs, *size) and all(o % i == 0 for o, i in zip(size, inputs, strict=True))
    if mode.startswith("nearest") and scales is None and whole:
        blocks = [n for o, i in zip(size, inputs, strict=True) for n in (i, o // i)]
        return g.reshape(*g.shape[:2], *blocks).sum(list(range(3, 3 + 2 * axes, 2)))
    factors: Sequence[float | None] = scales if scales is not None else [None] * axes
    matrices = []
    for o, i, scale in zip(size, inputs, factors, strict=True):
        if mode.startswith("nearest"):
            matrices.append(nearest_matrix(o, i, scale, mode == "nearest-exact", g))
        else:
            build = cubic_matrix if mode == "bicubic" else linear_matrix
            matrices.append(build(source(o, i, align, scale, g), i))
    return adjoint(g, matrices)
