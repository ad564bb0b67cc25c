"""From a method's raw map to the heatmap: upsampling, then scale-free min-max for each image."""

from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Size = tuple[Any, Any]
"""(height, width), integers; symbols while a graph of any size is recorded."""

Scaling = Literal["grad-cam", "torchcam"]
"""How other libraries scale a map; see `scaled_as`."""


def upsample(maps: Float[Tensor, "*n h w"], size: Size) -> Float[Tensor, "*n H W"]:
    """Bilinear upsampling with align_corners=False, as pixel centres demand;
    any axes before the last two."""
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    if maps.dim() == 3:
        return upsample(maps[:, None], size)[:, 0]
    if maps.dim() > 4:
        return upsample(maps.flatten(0, -4), size).unflatten(0, maps.shape[:-3])
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)


FLAT = 1e-6
"""A map whose range is a smaller share of its largest magnitude is constant: float32 rounds to
1.2e-7 of a value, and resampling a constant map gives a few such steps. One number for all types,
    so that a file agrees with float64."""


def minmax(maps: Float[Tensor, "*n h w"]) -> Float[Tensor, "*n h w"]:
    """`(m - min) / (max - min)` for each image, and 0 where the map is flat.

    No epsilon stands beside the range: a map whose maximum is 1e-12 is scaled like any other.
    """
    low, high = maps.amin((-2, -1), keepdim=True), maps.amax((-2, -1), keepdim=True)
    span = high - low
    varies = span > FLAT * torch.maximum(low.abs(), high.abs())
    # the difference is what is put to 0: rounding noise of a large constant is no small number
    return torch.where(varies, maps - low, torch.zeros_like(maps)) / torch.where(
        varies, span, torch.ones_like(span)
    )


def scaled_as(
    raw: Float[Tensor, "b h w"], size: tuple[int, int], library: Scaling
) -> Float[Tensor, "b y x"]:
    """A raw map as another library puts it out, for figures that were made there.

    "grad-cam": negative values cut off, min-max with 1e-7 beside the range before and after
    upsampling to `size`. "torchcam": min-max with 1e-8 beside the range, at the layer's resolution.
    """
    if library == "torchcam":
        return _with_epsilon(raw, 1e-8)
    return _with_epsilon(upsample(_with_epsilon(raw.relu(), 1e-7), size), 1e-7)


def _with_epsilon(maps: Float[Tensor, "b h w"], epsilon: float) -> Float[Tensor, "b h w"]:
    maps = maps - maps.amin((-2, -1), keepdim=True)
    return maps / (maps.amax((-2, -1), keepdim=True) + epsilon)
