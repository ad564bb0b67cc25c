"""Operators of our own: steps that have one good ONNX form, which the exporter would not find by itself.

They live in the `camport` namespace, run on any device and floating type, and exist in lowered graphs alone;
`camport.export.onnx_file.translations` gives their ONNX form, the functions here their meaning.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

_library = torch.library.Library("camport", "DEF")


def relu_grad(gradient: Tensor, result: Tensor) -> Tensor:
    """g · [y > 0], y the ReLU's result."""
    return gradient * (result > 0).to(gradient.dtype)


def silu_grad(gradient: Tensor, x: Tensor) -> Tensor:
    """g · σ(x) (1 + x (1 - σ(x)))."""
    s = torch.sigmoid(x)
    return gradient * (s * (1 + x * (1 - s)))


def hardswish_grad(gradient: Tensor, x: Tensor) -> Tensor:
    """g · (0 where x ≤ -3; x/3 + 1/2 between; 1 where x ≥ 3)."""
    return gradient * torch.where(x <= -3, 0.0, torch.where(x < 3, x / 3 + 0.5, 1.0)).to(x.dtype)


def window_grad(gradient: Tensor, x: Tensor, low: float, high: float) -> Tensor:
    """g · [low < x < high]."""
    return gradient * torch.logical_and(x > low, x < high).to(gradient.dtype)


def max_pool_grad(
    gradient: Tensor,
    x: Tensor,
    indices: Tensor,
    kernel: list[int],
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    ceil_mode: bool,
) -> Tensor:
    """x̄[i] = Σ g[o] over the windows o whose maximum, the first of equal ones, stands at i; two spatial axes.

    The indices say where, but the maxima themselves do as well.
    """
    geometry = (kernel, stride, padding, dilation, ceil_mode)
    return torch.ops.aten.max_pool2d_with_indices_backward(gradient, x, *geometry, indices)


def _zero_insert(gradient: Tensor, stride: list[int], size: list[int]) -> Tensor:
    """z[..., i·s] = g[..., i], zero elsewhere, cut or padded with zeros to `size`."""
    spatial = gradient.shape[2:]
    room = [max(n, m * s) for n, m, s in zip(size, spatial, stride, strict=True)]
    z = gradient.new_zeros((*gradient.shape[:2], *room))
    places: Any = (..., *(slice(0, n * s, s) for n, s in zip(spatial, stride, strict=True)))
    kept: Any = (..., *(slice(0, n) for n in size))
    z[places] = gradient
    return z[kept].contiguous()


def _resize(x: Tensor, size: list[int], mode: str, align_corners: bool, scales: list[float] | None) -> Tensor:
    """`torch.nn.functional.interpolate` to `size`; `scales` tell the coordinates where PyTorch was given some."""
    align = align_corners if mode in ("linear", "bilinear", "bicubic", "trilinear") else None
    if scales is not None:
        return F.interpolate(x, scale_factor=scales, mode=mode, align_corners=align)
    return F.interpolate(x, size=size, mode=mode, align_corners=align)


def _resize_grad(
    gradient: Tensor, shape: list[int], size: list[int], mode: str, align_corners: bool, scales: list[float] | None
) -> Tensor:
    """The gradient of `resize` with respect to its input of that shape."""
    with torch.enable_grad():
        x = gradient.new_zeros(shape).requires_grad_()
        (result,) = torch.autograd.grad(_resize(x, size, mode, align_corners, scales), x, gradient)
    return result


def _define(signature: str, implementation: object, fake: object) -> None:
    name = signature.split("(")[0]
    _library.define(signature)
    torch.library.impl(_library, name, "CompositeExplicitAutograd")(implementation)  # type: ignore[arg-type]
    torch.library.register_fake(f"camport::{name}", fake, lib=_library)  # type: ignore[arg-type]


def _like(gradient: Tensor, *others: Any) -> Tensor:
    return gradient.new_empty(gradient.shape)


_define("relu_grad(Tensor gradient, Tensor result) -> Tensor", relu_grad, _like)
_define("silu_grad(Tensor gradient, Tensor x) -> Tensor", silu_grad, _like)
_define("hardswish_grad(Tensor gradient, Tensor x) -> Tensor", hardswish_grad, _like)
_define("window_grad(Tensor gradient, Tensor x, float low, float high) -> Tensor", window_grad, _like)
_define(
    "max_pool_grad(Tensor gradient, Tensor x, Tensor indices, int[] kernel, int[] stride, int[] padding, "
    "int[] dilation, bool ceil_mode) -> Tensor",
    max_pool_grad,
    lambda gradient, x, *rest: x.new_empty(x.shape),
)
_define(
    "zero_insert(Tensor gradient, int[] stride, SymInt[] size) -> Tensor",
    _zero_insert,
    lambda gradient, stride, size: gradient.new_empty((*gradient.shape[:2], *size)),
)
_define(
    "resize(Tensor x, SymInt[] size, str mode, bool align_corners, float[]? scales) -> Tensor",
    _resize,
    lambda x, size, mode, align_corners, scales: x.new_empty((*x.shape[:2], *size)),
)
_define(
    "resize_grad(Tensor gradient, SymInt[] shape, SymInt[] size, str mode, bool align_corners, float[]? scales)"
    " -> Tensor",
    _resize_grad,
    lambda gradient, shape, size, mode, align_corners, scales: gradient.new_empty(shape),
)


def _keep_arguments(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, *ctx.rest = inputs
    ctx.shape = x.shape


def _differentiate_resize(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
    return torch.ops.camport.resize_grad(gradient, ctx.shape, *ctx.rest), None, None, None, None


torch.library.register_autograd("camport::resize", _differentiate_resize, setup_context=_keep_arguments, lib=_library)
