"""Gradients of average and max pooling, sliding and adaptive, one to three spatial axes."""

from collections.abc import Sequence
from itertools import product
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from camport.export import operators as operators
from camport.export.rules.geometry import adjoint, is_static, per_axis, positions, window_matrix
from camport.export.rules.registry import lowers

own = torch.ops.camport


@lowers("max_pool2d_with_indices_backward.default")
def max_pool2d_backward(
    g: Tensor,
    x: Tensor,
    kernel: Sequence[int],
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
    indices: Tensor,
) -> Tensor:
    """x̄[i] = Σ ḡ[o] over the outputs o whose maximum stood at i.
    It keeps an operator of its own."""
    k, p, d = (per_axis(value, 2) for value in (kernel, padding, dilation))
    s = k if not isinstance(stride, int) and not stride else per_axis(stride, 2)
    if x.dim() == 3:
        return own.max_pool_grad(g[None], x[None], indices[None], k, s, p, d, ceil_mode)[0]
    return own.max_pool_grad(g, x, indices, k, s, p, d, ceil_mode)


@lowers("max_pool3d_with_indices_backward.default")
def max_pool3d_backward(
    g: Tensor,
    x: Tensor,
    kernel: Sequence[int],
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
    indices: Tensor,
) -> Tensor:
    """x̄[i] = Σ ḡ[o] over the outputs o whose maximum stood at i."""
    return _scatter(g, x, indices, 3)


@lowers("adaptive_max_pool2d_backward.default")
def adaptive_max_pool2d_backward(g: Tensor, x: Tensor, indices: Tensor) -> Tensor:
    """As max pooling: the indices tell where each maximum stood."""
    return _scatter(g, x, indices, 2)


@lowers("adaptive_max_pool3d_backward.default")
def adaptive_max_pool3d_backward(g: Tensor, x: Tensor, indices: Tensor) -> Tensor:
    """As max pooling: the indices tell where each maximum stood."""
    return _scatter(g, x, indices, 3)


def plain_max_pool_grad(g: Tensor, x: Tensor, indices: Tensor, *geometry: Any) -> Tensor:
    """`camport::max_pool_grad` as a scatter to the forward pass's indices."""
    return _scatter(g, x, indices, 2)


def _scatter(g: Tensor, x: Tensor, indices: Tensor, axes: int) -> Tensor:
    lead = x.shape[: x.dim() - axes]
    cells: Any = 1
    for n in x.shape[x.dim() - axes :]:
        cells = cells * n
    zeros = g.new_zeros((*lead, cells))
    return zeros.scatter_add(-1, indices.reshape(*lead, -1), g.reshape(*lead, -1)).reshape(x.shape)


@lowers("avg_pool2d_backward.default", "avg_pool3d_backward.default")
def avg_pool_backward(
    g: Tensor,
    x: Tensor,
    kernel: Sequence[int] | int,
    stride: Sequence[int] | int,
    padding: Sequence[int] | int,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor: int | None,
) -> Tensor:
    """x̄[i] = Σ ḡ[o] / |window o| over the windows o that hold i."""
    axes = len(per_axis(kernel, 2))
    k, p = per_axis(kernel, axes), per_axis(padding, axes)
    s = k if not isinstance(stride, int) and not stride else per_axis(stride, axes)
    inputs, outputs = x.shape[x.dim() - axes :], g.shape[g.dim() - axes :]
    exact = is_static(*inputs) and all(
        o * n == i for o, n, i in zip(outputs, k, inputs, strict=True)
    )
    if exact and k == s and not any(p):
        return spread(g * (1 / (divisor or _product(k))), k)
    if divisor is not None:
        g = g * (1 / divisor)
    matrices = []
    for o, i, size, step, pad in zip(outputs, inputs, k, s, p, strict=True):
        begin = positions(o, g) * step - pad
        end = begin + size
        matrix = window_matrix(begin, end, i)
        if divisor is None:
            first, last = (-pad, i + pad) if count_include_pad else (0, i)
            matrix = matrix / (
                torch.clamp(end, max=last) - torch.clamp(begin, min=first)
            ).unsqueeze(1)
        matrices.append(matrix)
    return adjoint(g, matrices)


@lowers("_adaptive_avg_pool2d_backward.default")
def adaptive_avg_pool2d_backward(g: Tensor, x: Tensor) -> Tensor:
    """x̄ = Mᵀ ḡ, see `adaptive_matrix`."""
    return _adaptive_backward(g, x, 2)


@lowers("_adaptive_avg_pool3d_backward.default")
def adaptive_avg_pool3d_backward(g: Tensor, x: Tensor) -> Tensor:
    """x̄ = Mᵀ ḡ, see `adaptive_matrix`."""
    return _adaptive_backward(g, x, 3)


def _adaptive_backward(g: Tensor, x: Tensor, axes: int) -> Tensor:
    inputs, outputs = x.shape[x.dim() - axes :], g.shape[g.dim() - axes :]
    if all(n == 1 for n in outputs):
        return (g / _product(inputs)).expand(x.shape)
    if is_static(*inputs) and all(i % o == 0 for i, o in zip(inputs, outputs, strict=True)):
        windows = [i // o for i, o in zip(inputs, outputs, strict=True)]
        return spread(g * (1 / _product(windows)), windows)
    return adjoint(g, [adaptive_matrix(o, i, g) for o, i in zip(outputs, inputs, strict=True)])


def adaptive_matrix(outputs: Any, inputs: Any, like: Tensor) -> Tensor:
    """M[o, i] = 1/(e - b) for b ≤ i < e, b = ⌊o I / O⌋, e = ⌈(o+1) I / O⌉:
    adaptive averaging along one axis."""
    o = torch.arange(outputs, device=like.device).unsqueeze(1)
    begin = torch.div(o * inputs, outputs, rounding_mode="floor")
    end = torch.div((o + 1) * inputs + (outputs - 1), outputs, rounding_mode="floor")
    i = torch.arange(inputs, device=like.device).unsqueeze(0)
    inside = torch.logical_and(i >= begin, i < end).to(like.dtype)
    return inside / (end - begin).to(like.dtype)


@lowers("_adaptive_avg_pool2d.default", "_adaptive_avg_pool3d.default")
def adaptive_avg_pool(x: Tensor, output_size: Sequence[Any]) -> Tensor:
    """The forward operator: ONNX has only the global one."""
    axes = len(output_size)
    inputs = x.shape[x.dim() - axes :]
    if all(n == 1 for n in output_size):
        return x.mean(list(range(-axes, 0)), keepdim=True)
    if is_static(*inputs) and all(i == o for i, o in zip(inputs, output_size, strict=True)):
        return x.clone()
    if is_static(*inputs) and all(i % o == 0 for i, o in zip(inputs, output_size, strict=True)):
        windows = [i // o for i, o in zip(inputs, output_size, strict=True)]
        return F.avg_pool2d(x, windows, windows) if axes == 2 else F.avg_pool3d(x, windows, windows)
    matrices = [
        adaptive_matrix(o, i, x).transpose(0, 1) for o, i in zip(output_size, inputs, strict=True)
    ]
    return adjoint(x, matrices)


@lowers(
    "adaptive_max_pool2d.default",
    "adaptive_max_pool3d.default",
    unless=lambda x, size: not is_static(*x.shape[-len(size) :]) and any(n != 1 for n in size),
)
def adaptive_max_pool(x: Tensor, output_size: Sequence[int]) -> tuple[Tensor, Tensor]:
    """The forward operator, which ONNX lacks: the maximum over ⌊o I / O⌋ ≤ i < ⌈(o+1) I / O⌉,
    and where it stands."""
    axes = len(output_size)
    lead, inputs = x.shape[: x.dim() - axes], x.shape[x.dim() - axes :]
    if all(n == 1 for n in output_size):
        values, indices = x.reshape(*lead, -1).max(-1)
        return values.reshape(*lead, *output_size), indices.reshape(*lead, *output_size)
    if all(i % o == 0 for i, o in zip(inputs, output_size, strict=True)):
        windows = [i // o for i, o in zip(inputs, output_size, strict=True)]
        pool = F.max_pool2d if axes == 2 else F.max_pool3d
        return pool(x, windows, windows, return_indices=True)
    places = torch.arange(_product(inputs), device=x.device).reshape(*inputs)
    found = []
    for cell in product(*map(range, output_size)):
        sides = [
            slice(o * i // n, -(-(o + 1) * i // n))
            for o, i, n in zip(cell, inputs, output_size, strict=True)
        ]
        window: Any = (..., *sides)
        values, within = x[window].reshape(*lead, -1).max(-1)
        found.append((values, places[tuple(sides)].reshape(-1)[within]))
    values, indices = (
        torch.stack(parts, -1).reshape(*lead, *output_size) for parts in zip(*found, strict=True)
    )
    return values, indices


def spread(g: Tensor, windows: Sequence[int]) -> Tensor:
    """Each element repeated over its window, windows side by side."""
    if all(n == 1 for n in windows):
        return g
    axes = len(windows)
    lead, spatial = g.shape[: g.dim() - axes], g.shape[g.dim() - axes :]
    thin = [n for m in spatial for n in (m, 1)]
    wide = [n for m, k in zip(spatial, windows, strict=True) for n in (m, k)]
    full = [m * k for m, k in zip(spatial, windows, strict=True)]
    return g.reshape(*lead, *thin).expand(*lead, *wide).reshape(*lead, *full)


def _product(values: Sequence[Any]) -> Any:
    result: Any = 1
    for n in values:
        result = result * n
    return result
