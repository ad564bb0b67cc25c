"""Resampling as one operator, and its gradient, which a rule writes."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from camport.export.operators.registry import differentiate, own_operator


def resize_form(
    op: Any,
    x: Any,
    size: Sequence[Any],
    mode: str,
    align_corners: bool,
    scales: Sequence[float] | None = None,
) -> Any:
    """One Resize node."""
    coordinates = "align_corners" if align_corners else "half_pixel"
    options: dict[str, Any] = {"mode": "linear"}
    if mode == "bicubic":
        options = {"mode": "cubic", "cubic_coeff_a": -0.75}
    elif mode == "nearest":
        options, coordinates = {"mode": "nearest", "nearest_mode": "floor"}, "asymmetric"
    elif mode == "nearest-exact":
        options = {"mode": "nearest", "nearest_mode": "round_prefer_ceil"}
    options["coordinate_transformation_mode"] = coordinates
    if scales is not None:
        return op.Resize(x, None, op.Constant(value_floats=[1.0, 1.0, *scales]), **options)
    return op.Resize(x, None, None, _whole_shape(op, x, size), **options)


def _whole_shape(op: Any, x: Any, size: Sequence[Any]) -> Any:
    """The result's: batch and channels of x, then `size`."""
    lead = op.Shape(x, start=0, end=2)
    if all(isinstance(n, int) for n in size):
        tail = op.Constant(value_ints=list(size))
    else:
        minus = op.Constant(value_ints=[-1])
        parts = [
            op.Constant(value_ints=[n]) if isinstance(n, int) else op.Reshape(n, minus)
            for n in size
        ]
        tail = parts[0] if len(parts) == 1 else op.Concat(*parts, axis=0)
    return op.Concat(lead, tail, axis=0)


@own_operator(
    "resize(Tensor x, SymInt[] size, str mode, bool align_corners, float[]? scales) -> Tensor",
    lambda x, size, mode, align_corners, scales: x.new_empty((*x.shape[:2], *size)),
    resize_form,
)
def resize(
    x: Tensor, size: list[int], mode: str, align_corners: bool, scales: list[float] | None
) -> Tensor:
    """`torch.nn.functional.interpolate` to `size`;
    `scales` tell the coordinates where PyTorch was given some."""
    align = align_corners if mode in ("linear", "bilinear", "bicubic", "trilinear") else None
    if scales is not None:
        return F.interpolate(x, scale_factor=scales, mode=mode, align_corners=align)
    return F.interpolate(x, size=size, mode=mode, align_corners=align)


@own_operator(
    "resize_grad(Tensor gradient, SymInt[] shape, SymInt[] size, str mode, bool align_corners,"
    " float[]? scales) -> Tensor",
    lambda gradient, shape, size, mode, align_corners, scales: gradient.new_empty(shape),
)
def resize_grad(
    gradient: Tensor,
    shape: list[int],
    size: list[int],
    mode: str,
    align_corners: bool,
    scales: list[float] | None,
) -> Tensor:
    """The gradient of `resize` with respect to its input of that shape."""
    with torch.enable_grad():
        x = gradient.new_zeros(shape).requires_grad_()
        (result,) = torch.autograd.grad(resize(x, size, mode, align_corners, scales), x, gradient)
    return result


def _keep_arguments(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, *ctx.rest = inputs
    ctx.shape = x.shape


def _backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
    return torch.ops.camport.resize_grad(gradient, ctx.shape, *ctx.rest), None, None, None, None


differentiate("resize", _backward, _keep_arguments)
