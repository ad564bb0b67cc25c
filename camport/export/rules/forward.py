"""Operators of forward passes that ONNX lacks, written with others;
and gradients that come with them."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from camport.export.rules.geometry import is_static
from camport.export.rules.registry import lowers

UNROLLED = 256
"""A running product is written out term by term for axes up to this length."""


@lowers("mul.Scalar")
def times(x: Tensor, number: int | float | complex) -> Tensor:
    """x · number, which torch.onnx of PyTorch 2.9 has for tensors alone."""
    return x * number


@lowers("var.correction")
def variance(
    x: Tensor, dim: Sequence[int] | None = None, *, correction: Any = None, keepdim: bool = False
) -> Tensor:
    """Σ (x - mean)² / (n - correction)."""
    return mean_and_variance(x, dim, correction=correction, keepdim=keepdim)[0]


@lowers("var_mean.correction")
def mean_and_variance(
    x: Tensor, dim: Sequence[int] | None = None, *, correction: Any = None, keepdim: bool = False
) -> tuple[Tensor, Tensor]:
    """The variance, then the mean."""
    axes = list(dim) if dim else list(range(x.dim()))
    n: Any = 1
    for axis in axes:
        n = n * x.shape[axis]
    mean = x.mean(axes, keepdim=True)
    variance = ((x - mean) ** 2).sum(axes, keepdim=keepdim) / (
        n - (1 if correction is None else correction)
    )
    return variance, mean if keepdim else mean.reshape(variance.shape)


@lowers(
    "cumprod.default",
    unless=lambda x, dim, **_: not is_static(x.shape[dim]) or x.shape[dim] > UNROLLED,
)
def cumulated_product(x: Tensor, dim: int, *, dtype: torch.dtype | None = None) -> Tensor:
    """y_i = y_{i-1} x_i, written out."""
    parts = list((x if dtype is None else x.to(dtype)).split(1, dim))
    for i in range(1, len(parts)):
        parts[i] = parts[i - 1] * parts[i]
    return torch.cat(parts, dim)


@lowers("kthvalue.default", unless=lambda x, k, dim=-1, keepdim=False: not is_static(x.shape[dim]))
def kth_value(x: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    """The last of the k smallest."""
    values, indices = torch.topk(x, k, dim, largest=False)
    if keepdim:
        return values.narrow(dim, k - 1, 1), indices.narrow(dim, k - 1, 1)
    return values.select(dim, k - 1), indices.select(dim, k - 1)


@lowers("median.dim", unless=lambda x, dim, keepdim=False: not is_static(x.shape[dim]))
def median(x: Tensor, dim: int, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    """The lower of the two in the middle."""
    return kth_value(x, (x.shape[dim] + 1) // 2, dim, keepdim)


@lowers("_cdist_forward.default", unless=lambda a, b, p, mode: p not in (1.0, 2.0))
def distances(a: Tensor, b: Tensor, p: float, mode: int | None) -> Tensor:
    """d[..., i, j] = ‖a_i - b_j‖."""
    apart = a.unsqueeze(-2) - b.unsqueeze(-3)
    return apart.abs().sum(-1) if p == 1 else (apart**2).sum(-1).sqrt()


@lowers("_cdist_backward.default", unless=lambda g, a, b, p, d: p not in (1.0, 2.0))
def distances_backward(g: Tensor, a: Tensor, b: Tensor, p: float, d: Tensor) -> Tensor:
    """ā_i = Σ_j ḡ[i, j] (a_i - b_j) / d[i, j], 0 where they are one; for p = 1 the signs."""
    apart = a.unsqueeze(-2) - b.unsqueeze(-3)
    if p == 1:
        return (g.unsqueeze(-1) * apart.sign()).sum(-2)
    return (torch.where(d > 0, g / torch.where(d > 0, d, 1), 0).unsqueeze(-1) * apart).sum(-2)


def _in_training(*args: Any, **_: Any) -> bool:
    return bool(args[4] if len(args) > 4 else False)


@lowers("rrelu_with_noise.default", unless=_in_training)
def rrelu(x: Tensor, noise: Tensor, lower: Any = 1 / 8, upper: Any = 1 / 3, *_: Any) -> Tensor:
    """In evaluation mode a leaky ReLU of the slopes' mean."""
    return F.leaky_relu(x, (lower + upper) / 2)


@lowers("rrelu_with_noise_functional.default", unless=_in_training)
def rrelu_and_noise(x: Tensor, noise: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    """The same as tracing calls it."""
    return rrelu(x, noise, *rest), noise


@lowers(
    "rrelu_with_noise_backward.default",
    unless=lambda g, x, noise, lower, upper, training, *_: training,
)
def rrelu_backward(g: Tensor, x: Tensor, noise: Tensor, lower: Any, upper: Any, *_: Any) -> Tensor:
    """ḡ, times the slopes' mean where x ≤ 0."""
    return torch.where(x > 0, g, g * ((lower + upper) / 2))


@lowers("_trilinear.default")
def trilinear(
    a: Tensor,
    b: Tensor,
    c: Tensor,
    expand_a: Sequence[int],
    expand_b: Sequence[int],
    expand_c: Sequence[int],
    summed: Sequence[int],
    unroll: int = 1,
) -> Tensor:
    """Σ a b c over the axes `summed`, each with new axes where the lists say:
    a bilinear layer and its gradients."""
    factors = []
    for factor, axes in ((a, expand_a), (b, expand_b), (c, expand_c)):
        for axis in axes:
            factor = factor.unsqueeze(axis)
        factors.append(factor)
    return (factors[0] * factors[1] * factors[2]).sum(list(summed))


@lowers("_assert_async.default", "_assert_async.msg")
def unchecked(condition: Tensor, message: str = "") -> None:
    """What a model asserts of values, as one_hot does of its classes, is not asked in a file."""
