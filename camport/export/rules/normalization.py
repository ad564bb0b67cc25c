"""Gradients of batch, layer and group norm; instance norm is group norm or batch norm over a
reshaped input."""

from collections.abc import Sequence

import torch
from torch import Tensor

from camport.errors import ExportError
from camport.export.rules.registry import lowers


@lowers("native_batch_norm_backward.default")
def batch_norm_backward(
    g: Tensor,
    x: Tensor,
    weight: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    save_mean: Tensor | None,
    save_invstd: Tensor | None,
    train: bool,
    eps: float,
    mask: Sequence[bool],
) -> tuple[Tensor, None, None]:
    """With running statistics ḡ w / √(v + ε); with the batch's own,
    as layer norm over b and space."""
    _no_weight_gradients(mask)
    shape = [1, -1] + [1] * (g.dim() - 2)
    if not train:
        if running_var is None:
            raise ExportError("batch norm in evaluation mode without running statistics")
        scale = torch.rsqrt(running_var + eps)
        if weight is not None:
            scale = scale * weight
        return g * scale.reshape(shape), None, None
    if save_mean is None or save_invstd is None:
        raise ExportError("batch norm over the batch's statistics did not keep them")
    if weight is not None:
        g = g * weight.reshape(shape)
    axes = [0, *range(2, g.dim())]
    normal = (x - save_mean.reshape(shape)) * save_invstd.reshape(shape)
    return centred(g, normal, axes) * save_invstd.reshape(shape), None, None


def centred(g: Tensor, normal: Tensor, axes: list[int]) -> Tensor:
    """ḡ - mean(ḡ) - x̂ mean(ḡ x̂): what is left of ḡ when shift and scale of x̂ cannot change the
    result."""
    return g - g.mean(axes, keepdim=True) - normal * (g * normal).mean(axes, keepdim=True)


@lowers("native_layer_norm_backward.default")
def layer_norm_backward(
    g: Tensor,
    x: Tensor,
    normalized_shape: Sequence[int],
    mean: Tensor,
    rstd: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    mask: Sequence[bool],
) -> tuple[Tensor, None, None]:
    """x̄ = (ḡw - mean(ḡw) - x̂ mean(ḡw x̂)) / σ, means over the normalised axes."""
    _no_weight_gradients(mask)
    if weight is not None:
        g = g * weight
    axes = list(range(g.dim() - len(normalized_shape), g.dim()))
    return centred(g, (x - mean) * rstd, axes) * rstd, None, None


@lowers("native_group_norm_backward.default")
def group_norm_backward(
    g: Tensor,
    x: Tensor,
    mean: Tensor,
    rstd: Tensor,
    weight: Tensor | None,
    batch: int,
    channels: int,
    spatial: int,
    groups: int,
    mask: Sequence[bool],
) -> tuple[Tensor, None, None]:
    """As layer norm, over the channels of a group and space."""
    _no_weight_gradients(mask)
    if weight is not None:
        g = g * weight.reshape([1, -1] + [1] * (g.dim() - 2))
    grouped = [batch, groups, (channels // groups) * spatial]
    statistics = [batch, groups, 1]
    scale = rstd.reshape(statistics)
    normal = (x.reshape(grouped) - mean.reshape(statistics)) * scale
    return (centred(g.reshape(grouped), normal, [2]) * scale).reshape(x.shape), None, None


def _no_weight_gradients(mask: Sequence[bool]) -> None:
    if any(mask[1:]):
        raise ExportError(
            "the program differentiates with respect to a normalisation's weights; detach them"
        )
