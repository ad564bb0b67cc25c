"""The pointing game."""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from camport.core.metric import Metric


@dataclass(frozen=True)
class PointingGame(Metric):
    """1 where the heatmap's maximum lies in the region, else 0; a flat map points nowhere and scores 0.

    Zhang et al. 2016, arXiv 1608.00507, section 4.2. Where several pixels have the maximum, as all of a segment have in
    XRAI's maps, the one nearest to their centroid counts: the first in reading order would be a segment's edge.

    Args:
        margin: pixels that the maximum may lie beside the region (the paper has 15); half the stride of the target
            layer is what a map can resolve.
    """

    name: ClassVar[str] = "pointing_game"
    title: ClassVar[str] = "Pointing game"
    paper: ClassVar[str] = "1608.00507"

    margin: int = 0

    def __call__(self, heatmap: Float[Tensor, "b H W"], region: Bool[Tensor, "b H W"]) -> Float[Tensor, " b"]:
        """Hit or miss for each heatmap."""
        if self.margin:
            region = F.max_pool2d(region.float(), 2 * self.margin + 1, 1, self.margin) > 0
        flat = heatmap.flatten(1)
        hit = region.flatten(1).gather(1, hottest(heatmap)[:, None])[:, 0]
        return (hit & (flat.amax(1) > flat.amin(1))).float()


def hottest(heatmap: Float[Tensor, "b H W"]) -> Int64[Tensor, " b"]:
    """Index, in reading order, of the maximum's pixel that is nearest to the centroid of all with that value."""
    h, w = heatmap.shape[1:]
    flat = heatmap.flatten(1)
    most = flat == flat.amax(1, keepdim=True)
    pixel = torch.arange(h * w, device=heatmap.device)
    places = torch.stack([pixel // w, pixel % w]).double()[:, None]  # [2,1,HW]
    centroid = (places * most).sum(2, keepdim=True) / most.sum(1)[:, None]
    distance = ((places - centroid) ** 2).sum(0)
    return distance.masked_fill(~most, torch.inf).argmin(1)
