"""From a method's raw map to the heatmap: upsampling, then scale-free min-max for each image."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def upsample(maps: Float[Tensor, "b h w"], size: tuple[int, int]) -> Float[Tensor, "b H W"]:
    """Bilinear upsampling with align_corners=False, as pixel centres demand."""
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    return F.interpolate(maps[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]


def minmax(maps: Float[Tensor, "b h w"]) -> Float[Tensor, "b h w"]:
    """`(m - min) / (max - min)` for each image, and 0 where the map is flat.

    No epsilon stands beside the range: a map whose maximum is 1e-12 is scaled like any other.
    """
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    span = high - low
    return (maps - low) / torch.where(span > 0, span, torch.ones_like(span))
