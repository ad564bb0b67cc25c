"""Gradients of pointwise activations: ḡ · f'(x)."""

import math
from typing import Any

import torch
from torch import Tensor

from camport.export import operators as operators
from camport.export.rules.registry import lowers

own = torch.ops.camport

Number = int | float


@lowers("threshold_backward.default")
def threshold_backward(g: Tensor, y: Tensor, threshold: Number) -> Tensor:
    """ḡ · [y > threshold]; ReLU is threshold 0 and keeps its own operator."""
    if threshold == 0:
        return own.relu_grad(g, y)
    return torch.where(y > threshold, g, 0)


@lowers("hardtanh_backward.default")
def hardtanh_backward(g: Tensor, x: Tensor, low: Number, high: Number) -> Tensor:
    """ḡ · [low < x < high]; ReLU6 is hardtanh from 0 to 6."""
    return own.window_grad(g, x, low, high)


@lowers("hardsigmoid_backward.default")
def hardsigmoid_backward(g: Tensor, x: Tensor) -> Tensor:
    """ḡ/6 · [-3 < x < 3]."""
    return own.window_grad(g * (1 / 6), x, -3, 3)


@lowers("silu_backward.default")
def silu_backward(g: Tensor, x: Tensor) -> Tensor:
    """ḡ · σ(x)(1 + x(1 - σ(x)))."""
    return own.silu_grad(g, x)


@lowers("hardswish_backward.default")
def hardswish_backward(g: Tensor, x: Tensor) -> Tensor:
    """ḡ · (0, x/3 + 1/2, 1) left of -3, between, right of 3."""
    return own.hardswish_grad(g, x)


@lowers("leaky_relu_backward.default")
def leaky_relu_backward(g: Tensor, x: Tensor, slope: Number, is_result: bool) -> Tensor:
    """ḡ where x > 0, slope · ḡ elsewhere: slope · ḡ + (1 - slope) · ḡ · [x > 0]."""
    return own.relu_grad(g * (1 - slope), x) + g * slope


@lowers("_prelu_kernel_backward.default")
def prelu_backward(g: Tensor, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """ḡ where x > 0, w · ḡ elsewhere; the second result is the weight's gradient, Σ later."""
    return torch.where(x > 0, g, weight * g), torch.where(x > 0, 0, x * g)


@lowers("elu_backward.default")
def elu_backward(
    g: Tensor, alpha: Number, scale: Number, input_scale: Number, is_result: bool, x: Tensor
) -> Tensor:
    """ḡ · scale where x > 0, else ḡ · input_scale · α · scale · e^(input_scale x),
    or from the result y + α scale."""
    if is_result:
        negative = (x + alpha * scale) * input_scale
    else:
        negative = torch.exp(torch.clamp(x, max=0) * input_scale) * (input_scale * alpha * scale)
    return g * torch.where(x > 0, scale, negative)


@lowers("gelu_backward.default")
def gelu_backward(g: Tensor, x: Tensor, approximate: str = "none") -> Tensor:
    """ḡ (Φ(x) + x φ(x)), or the derivative of x/2 (1 + tanh u), u = √(2/π) (x + 0.044715 x³)."""
    if approximate == "tanh":
        beta, kappa = math.sqrt(2 / math.pi), 0.044715
        t = torch.tanh((x + x * x * x * kappa) * beta)
        inner = (x * x * (3 * kappa) + 1) * beta
        return g * ((t + 1) * 0.5 + x * (1 - t * t) * inner * 0.5)
    cdf = (torch.erf(x * math.sqrt(0.5)) + 1) * 0.5
    pdf = torch.exp(x * x * -0.5) * (1 / math.sqrt(2 * math.pi))
    return g * (cdf + x * pdf)


@lowers("sigmoid_backward.default")
def sigmoid_backward(g: Tensor, y: Tensor) -> Tensor:
    """ḡ y (1 - y), y the result."""
    return g * (y * (1 - y))


@lowers("tanh_backward.default")
def tanh_backward(g: Tensor, y: Tensor) -> Tensor:
    """ḡ (1 - y²), y the result."""
    return g * (1 - y * y)


@lowers("mish_backward.default")
def mish_backward(g: Tensor, x: Tensor) -> Tensor:
    """ḡ (t + x σ(x) (1 - t²)), t = tanh softplus x."""
    t = torch.tanh(torch.nn.functional.softplus(x))
    return g * (t + x * torch.sigmoid(x) * (1 - t * t))


@lowers("softplus_backward.default")
def softplus_backward(g: Tensor, x: Tensor, beta: Number, threshold: Number) -> Tensor:
    """ḡ σ(βx); ḡ where βx exceeds the threshold, above which softplus is the identity."""
    z = x * beta
    return torch.where(z > threshold, g, g * torch.sigmoid(z))


@lowers("log_sigmoid_backward.default")
def log_sigmoid_backward(g: Tensor, x: Tensor, buffer: Any) -> Tensor:
    """ḡ σ(-x)."""
    return g * torch.sigmoid(-x)


@lowers("glu_backward.default")
def glu_backward(g: Tensor, x: Tensor, dim: int) -> Tensor:
    """y = a σ(b), x = [a, b]: [ḡ σ(b), ḡ a σ(b)(1 - σ(b))]."""
    a, b = x.chunk(2, dim)
    s = torch.sigmoid(b)
    gate = g * s
    return torch.cat([gate, gate * a * (1 - s)], dim)


@lowers("softshrink_backward.default", "hardshrink_backward.default")
def shrink_backward(g: Tensor, x: Tensor, lambd: Number) -> Tensor:
    """ḡ · [|x| > λ]."""
    return torch.where(x.abs() > lambd, g, 0)
