"""The pointing game."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from camport.core.metric import Metric
from camport.errors import InputError

PAPERS_MARGIN = 15
"""Pixels, of the images' own size."""


@dataclass(frozen=True)
class PointingGame(Metric):
    """1 where the heatmap's maximum lies in the region, else 0;
    a flat map points nowhere and scores 0.

    Zhang et al. 2016, arXiv 1608.00507, section 4.2. Regions are masks, or boxes by
    `region_of_boxes`. Where several pixels have the maximum, as all of a segment have in XRAI's
    maps, the one nearest to their centroid counts: the first in reading order would be a segment's
    edge.

    Presets: "strict" takes the region as it is; "paper" also what is nearer than 15 pixels to it,
    in a straight line, as the published evaluation (TorchRay) has it.

    Args:
        margin: pixels that the maximum may lie beside the region in rows and in columns;
            half the stride of the target layer is what a map can resolve.
        preset: "strict" or "paper".
    """

    name: ClassVar[str] = "pointing_game"
    title: ClassVar[str] = "Pointing game"
    paper: ClassVar[str] = "1608.00507"

    margin: int = 0
    preset: Literal["strict", "paper"] = "strict"

    def __post_init__(self) -> None:
        if self.preset not in ("strict", "paper"):
            raise InputError(f"preset is {self.preset!r}; it is one of strict, paper")

    def __call__(
        self, heatmap: Float[Tensor, "b H W"], region: Bool[Tensor, "b H W"]
    ) -> Float[Tensor, " b"]:
        """Hit or miss for each heatmap."""
        if self.margin:
            region = F.max_pool2d(region.float(), 2 * self.margin + 1, 1, self.margin) > 0
        flat, place = heatmap.flatten(1), hottest(heatmap)
        if self.preset == "paper":
            region = region & _nearer(place, PAPERS_MARGIN, region)
            hit = region.flatten(1).any(1)
        else:
            hit = region.flatten(1).gather(1, place[:, None])[:, 0]
        return (hit & (flat.amax(1) > flat.amin(1))).float()


def _nearer(
    place: Int64[Tensor, " b"], distance: int, region: Bool[Tensor, "b H W"]
) -> Bool[Tensor, "b H W"]:
    """The pixels that are nearer than `distance` to one of each image."""
    h, w = region.shape[1:]
    y, x = (torch.arange(n, device=place.device) for n in (h, w))
    rows, columns = y - (place // w)[:, None], x - (place % w)[:, None]
    return (rows[:, :, None] ** 2 + columns[:, None] ** 2) < distance**2


def hottest(heatmap: Float[Tensor, "b H W"]) -> Int64[Tensor, " b"]:
    """Index, in reading order, of the maximum's pixel that is nearest to the centroid of all with
    that value."""
    h, w = heatmap.shape[1:]
    flat = heatmap.flatten(1)
    most = flat == flat.amax(1, keepdim=True)
    pixel = torch.arange(h * w, device=heatmap.device)
    places = torch.stack([pixel // w, pixel % w]).double()[:, None]  # [2,1,HW]
    centroid = (places * most).sum(2, keepdim=True) / most.sum(1)[:, None]
    distance = ((places - centroid) ** 2).sum(0)
    return distance.masked_fill(~most, torch.inf).argmin(1)
