"""Activation functions; torch's own function where one is the same,
so that its derivative is the one of training."""

import torch
import torch.nn.functional as F
from torch import Tensor

from camport.models.onnx.registry import operator
from camport.models.onnx.small import Small, number


@operator("Relu")
def relu(x: Tensor) -> Tensor:
    """max(x, 0)."""
    return F.relu(x)


@operator("LeakyRelu")
def leaky_relu(x: Tensor, *, alpha: float = 0.01) -> Tensor:
    """x, negative values times alpha."""
    return F.leaky_relu(x, alpha)


@operator("ThresholdedRelu")
def thresholded_relu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    """x where above alpha, else 0."""
    return torch.where(x > alpha, x, torch.zeros_like(x))


@operator("PRelu")
def prelu(x: Tensor, slope: Tensor) -> Tensor:
    """x, negative values times a learned slope that broadcasts."""
    return torch.where(x < 0, x * slope, x)


@operator("Clip", static=("min", "max"))
def clip(x: Tensor, min: Small | float | None = None, max: Small | float | None = None) -> Tensor:
    """x between two bounds; from 0 up it is a ReLU, to which ReLU rules apply."""
    low, high = number(min), number(max)
    if low == 0 and high == 6 and x.is_floating_point():
        return F.relu6(x)
    if low == 0 and high is None:
        return F.relu(x)
    return x if low is None and high is None else x.clamp(low, high)


@operator("Elu")
def elu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    """x, or alpha (eˣ - 1) below 0."""
    return F.elu(x, alpha)


@operator("Celu")
def celu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    """x, or alpha (e^(x / alpha) - 1) below 0."""
    return F.celu(x, alpha)


@operator("Selu")
def selu(
    x: Tensor, *, alpha: float = 1.6732632423543772, gamma: float = 1.0507009873554805
) -> Tensor:
    """gamma times ELU."""
    if abs(alpha - 1.6732632) < 1e-5 and abs(gamma - 1.0507009) < 1e-5:
        return F.selu(x)
    return gamma * F.elu(x, alpha)


@operator("Gelu")
def gelu(x: Tensor, *, approximate: str = "none") -> Tensor:
    """x Φ(x), or its form with tanh."""
    return F.gelu(x, approximate=approximate)


@operator("Sigmoid")
def sigmoid(x: Tensor) -> Tensor:
    """1 / (1 + e⁻ˣ)."""
    return torch.sigmoid(x)


@operator("HardSigmoid")
def hard_sigmoid(x: Tensor, *, alpha: float = 0.2, beta: float = 0.5) -> Tensor:
    """alpha x + beta between 0 and 1; torch's own for its slope of 1/6."""
    if abs(alpha - 1 / 6) < 1e-6 and beta == 0.5:
        return F.hardsigmoid(x)
    return (x * alpha + beta).clamp(0, 1)


@operator("HardSwish")
def hard_swish(x: Tensor) -> Tensor:
    """x times its hard sigmoid."""
    return F.hardswish(x)


@operator("Swish")
def swish(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    """x σ(alpha x)."""
    return F.silu(x) if alpha == 1 else x * torch.sigmoid(x * alpha)


@operator("Mish")
def mish(x: Tensor) -> Tensor:
    """x tanh(softplus(x))."""
    return x * torch.tanh(F.softplus(x))


@operator("Softplus")
def softplus(x: Tensor) -> Tensor:
    """log(1 + eˣ)."""
    return F.softplus(x)


@operator("Softsign")
def softsign(x: Tensor) -> Tensor:
    """x / (1 + |x|)."""
    return x / (1 + x.abs())


@operator("Shrink")
def shrink(x: Tensor, *, bias: float = 0.0, lambd: float = 0.5) -> Tensor:
    """x moved towards 0 by bias where |x| > lambd, else 0."""
    return torch.where(x < -lambd, x + bias, torch.where(x > lambd, x - bias, torch.zeros_like(x)))


@operator("Softmax", since=13)
def softmax(x: Tensor, *, axis: int = -1) -> Tensor:
    """Softmax along one axis."""
    return x.softmax(axis)


@operator("LogSoftmax", since=13)
def log_softmax(x: Tensor, *, axis: int = -1) -> Tensor:
    """The logarithm of softmax along one axis."""
    return x.log_softmax(axis)


@operator("Softmax")
def softmax_of_rows(x: Tensor, *, axis: int = 1) -> Tensor:
    """Before opset 13: softmax over all axes from `axis` on, taken as one."""
    return x.flatten(axis).softmax(-1).reshape(x.shape)


@operator("LogSoftmax")
def log_softmax_of_rows(x: Tensor, *, axis: int = 1) -> Tensor:
    """Before opset 13: likewise."""
    return x.flatten(axis).log_softmax(-1).reshape(x.shape)


@operator("Hardmax", since=13)
def hardmax(x: Tensor, *, axis: int = -1) -> Tensor:
    """1 at the first maximum along one axis, else 0."""
    return F.one_hot(x.argmax(axis), x.shape[axis]).movedim(-1, axis).to(x.dtype)
