"""The energy-based pointing game."""

from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from camport.core.metric import Metric


class EnergyInRegion(Metric):
    """Share of the heatmap's sum that lies in the region, in [0,1]; 0 for a flat map.

    Wang et al. 2020 (Score-CAM), arXiv 1910.01279, section 4.3. The region's share of the area is
    what chance gives.
    """

    name: ClassVar[str] = "energy_in_region"
    title: ClassVar[str] = "Energy in region"
    paper: ClassVar[str] = "1910.01279"

    def __call__(
        self, heatmap: Float[Tensor, "b H W"], region: Bool[Tensor, "b H W"]
    ) -> Float[Tensor, " b"]:
        """sum(heatmap in region) / sum(heatmap)."""
        total = heatmap.sum((1, 2))
        return (heatmap * region).sum((1, 2)) / torch.where(total > 0, total, 1)
