"""From a method's raw map to the heatmap: upsampling, then scale-free min-max for each image."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def upsample(maps: Float[Tensor, "*n h w"], size: tuple[int, int]) -> Float[Tensor, "*n H W"]:
    """Bilinear upsampling with align_corners=False, as pixel centres demand; any axes before the last two."""
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    if maps.dim() == 3:
        return upsample(maps[:, None], size)[:, 0]
    if maps.dim() > 4:
        return upsample(maps.flatten(0, -4), size).unflatten(0, maps.shape[:-3])
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)


def minmax(maps: Float[Tensor, "*n h w"]) -> Float[Tensor, "*n h w"]:
    """`(m - min) / (max - min)` for each image, and 0 where the map is flat.

    No epsilon stands beside the range: a map whose maximum is 1e-12 is scaled like any other.
    """
    low, high = maps.amin((-2, -1), keepdim=True), maps.amax((-2, -1), keepdim=True)
    span = high - low
    return (maps - low) / torch.where(span > 0, span, torch.ones_like(span))
