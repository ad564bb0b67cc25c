"""Gradients of pointwise activations.

Masks are written with HardSigmoid instead of Greater, Where or Clip: ONNX Runtime keeps its blocked
channel layout through it, which halves the reorders of a convolutional backward pass.
"""

from typing import Any

import torch
from torch import Tensor

from camport.export.operators.registry import is_half, like_gradient, own_operator, scalar

STEEP = 1e30
"""HardSigmoid's slope for a mask: max(0, min(1, 1e30 y)) is 0 or 1 for every y a network
computes."""

NEARLY_ZERO = -1e-3
"""HardSigmoid's offset for a mask: nothing next to 1e30 y, and 0 where y is 0. OpenVINO takes a
plain 0 for unset and adds 0.5; a smaller number would become 0 in half precision."""


def relu_grad_form(op: Any, gradient: Any, result: Any) -> Any:
    """ḡ · min(1, max(0, 1e30 y)); in float16, which ends at 65504, ḡ · sign(max(0, y))."""
    if is_half(result):
        return op.Mul(gradient, op.Sign(op.Relu(result)))
    return op.Mul(gradient, op.HardSigmoid(result, alpha=STEEP, beta=NEARLY_ZERO))


@own_operator("relu_grad(Tensor gradient, Tensor result) -> Tensor", like_gradient, relu_grad_form)
def relu_grad(gradient: Tensor, result: Tensor) -> Tensor:
    """g · [y > 0], y the ReLU's result."""
    return gradient * (result > 0).to(gradient.dtype)


def silu_grad_form(op: Any, gradient: Any, x: Any) -> Any:
    """ḡ · (σ + x σ (1 - σ)); 1 - σ as HardSigmoid with slope -1."""
    s = op.Sigmoid(x)
    return op.Mul(
        gradient, op.Add(s, op.Mul(op.Mul(x, s), op.HardSigmoid(s, alpha=-1.0, beta=1.0)))
    )


@own_operator("silu_grad(Tensor gradient, Tensor x) -> Tensor", like_gradient, silu_grad_form)
def silu_grad(gradient: Tensor, x: Tensor) -> Tensor:
    """g · σ(x) (1 + x (1 - σ(x)))."""
    s = torch.sigmoid(x)
    return gradient * (s * (1 + x * (1 - s)))


def hardswish_grad_form(op: Any, gradient: Any, x: Any) -> Any:
    """ḡ · (q + (1 - trunc(q))/2) with q = clip(x/3, -1, 1): 0, x/3 + 1/2 and 1 in turn."""
    import onnx_ir as ir

    q = op.Clip(op.Mul(x, scalar(op, 1 / 3, x)), scalar(op, -1.0, x), scalar(op, 1.0, x))
    ends = op.CastLike(op.Cast(q, to=ir.DataType.INT32), x)
    return op.Mul(gradient, op.Add(q, op.HardSigmoid(ends, alpha=-0.5, beta=0.5)))


@own_operator(
    "hardswish_grad(Tensor gradient, Tensor x) -> Tensor", like_gradient, hardswish_grad_form
)
def hardswish_grad(gradient: Tensor, x: Tensor) -> Tensor:
    """g · (0 where x ≤ -3; x/3 + 1/2 between; 1 where x ≥ 3)."""
    return gradient * torch.where(x <= -3, 0.0, torch.where(x < 3, x / 3 + 0.5, 1.0)).to(x.dtype)


def window_grad_form(op: Any, gradient: Any, x: Any, low: float, high: float) -> Any:
    """ḡ · min(1, max(0, 1e30 (x - low))) · min(1, max(0, 1e30 (high - x)));
    in float16 as `relu_grad`."""
    if is_half(x):
        below, above = op.Sub(scalar(op, high, x), x), op.Sub(x, scalar(op, low, x))
        return relu_grad_form(op, relu_grad_form(op, gradient, above), below)
    above = op.HardSigmoid(x, alpha=STEEP, beta=-STEEP * low if low else NEARLY_ZERO)
    below = op.HardSigmoid(x, alpha=-STEEP, beta=STEEP * high if high else NEARLY_ZERO)
    return op.Mul(op.Mul(gradient, above), below)


@own_operator(
    "window_grad(Tensor gradient, Tensor x, float low, float high) -> Tensor",
    like_gradient,
    window_grad_form,
)
def window_grad(gradient: Tensor, x: Tensor, low: float, high: float) -> Tensor:
    """g · [low < x < high]."""
    return gradient * torch.logical_and(x > low, x < high).to(gradient.dtype)
