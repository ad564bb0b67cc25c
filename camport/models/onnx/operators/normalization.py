"""Normalisation layers, in evaluation mode."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from camport.models.onnx.registry import operator


@operator("BatchNormalization")
def batch_normalization(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    mean: Tensor,
    var: Tensor,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    training_mode: int = 0,
    spatial: int = 1,
) -> Tensor:
    """(x - mean) / sqrt(var + epsilon) · weight + bias by channel, with the stored statistics."""
    return F.batch_norm(x, mean, var, weight, bias, False, 0.0, epsilon)


@operator("LayerNormalization")
def layer_normalization(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
) -> Tensor:
    """Normalised over the axes from `axis` on."""
    shape = x.shape[axis:]
    if tuple(weight.shape) == tuple(shape) and (bias is None or tuple(bias.shape) == tuple(shape)):
        return F.layer_norm(x, shape, weight, bias, epsilon)
    y = F.layer_norm(x, shape, None, None, epsilon) * weight
    return y if bias is None else y + bias


@operator("RMSNormalization")
def rms_normalization(
    x: Tensor, weight: Tensor, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
) -> Tensor:
    """x over its root mean square along the axes from `axis` on."""
    axes = tuple(range(axis if axis < 0 else axis - x.dim(), 0))
    return x * (x.pow(2).mean(axes, keepdim=True) + epsilon).rsqrt() * weight


@operator("InstanceNormalization")
def instance_normalization(
    x: Tensor, weight: Tensor, bias: Tensor, *, epsilon: float = 1e-5
) -> Tensor:
    """Each channel of each image normalised over space: groups of one channel."""
    return F.group_norm(x, weight.shape[0], weight, bias, epsilon)


@operator("GroupNormalization", since=21)
def group_normalization(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    *,
    num_groups: int,
    epsilon: float = 1e-5,
    stash_type: int = 1,
) -> Tensor:
    """Groups of channels normalised over space;
    the form of opset 18 is deprecated and refused by onnx itself."""
    return F.group_norm(x, num_groups, weight, bias, epsilon)


@operator("LpNormalization")
def lp_normalization(x: Tensor, *, axis: int = -1, p: int = 2) -> Tensor:
    """x over its p-norm along an axis."""
    return F.normalize(x, float(p), axis)


@operator("MeanVarianceNormalization")
def mean_variance_normalization(x: Tensor, *, axes: Sequence[int] = (0, 2, 3)) -> Tensor:
    """Zero mean and unit variance over the axes."""
    centred = x - x.mean(tuple(axes), keepdim=True)
    return centred / (centred.pow(2).mean(tuple(axes), keepdim=True).sqrt() + 1e-9)


@operator("LRN")
def local_response_normalization(
    x: Tensor, *, size: int, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0
) -> Tensor:
    """x / (bias + alpha / size · Σ x² over `size` neighbouring channels)^beta."""
    before = (size - 1) // 2
    squares = F.pad(x.pow(2), [0, 0] * (x.dim() - 2) + [before, size - 1 - before])
    total = torch.zeros_like(x)
    for i in range(size):
        total = total + squares.narrow(1, i, x.shape[1])
    return x / (bias + alpha / size * total).pow(beta)
