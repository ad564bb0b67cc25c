"""The pointing game."""

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from camport.core.metric import Metric


@dataclass(frozen=True)
class PointingGame(Metric):
    """1 where the heatmap's maximum lies in the region, else 0; a flat map points nowhere and scores 0.

    Zhang et al. 2016, arXiv 1608.00507, section 4.2.

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
        hit = region.flatten(1).gather(1, flat.argmax(1, keepdim=True))[:, 0]
        return (hit & (flat.amax(1) > flat.amin(1))).float()
