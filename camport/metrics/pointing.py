"""The pointing game."""

from typing import ClassVar

from jaxtyping import Bool, Float
from torch import Tensor

from camport.core.metric import Metric


class PointingGame(Metric):
    """1 where the heatmap's maximum lies in the region, else 0; a flat map points nowhere and scores 0.

    Zhang et al. 2016, arXiv 1608.00507, section 4.2, with no tolerance around the region.
    """

    name: ClassVar[str] = "pointing_game"
    title: ClassVar[str] = "Pointing game"
    paper: ClassVar[str] = "1608.00507"

    def __call__(self, heatmap: Float[Tensor, "b H W"], region: Bool[Tensor, "b H W"]) -> Float[Tensor, " b"]:
        """Hit or miss for each heatmap."""
        flat = heatmap.flatten(1)
        hit = region.flatten(1).gather(1, flat.argmax(1, keepdim=True))[:, 0]
        return (hit & (flat.amax(1) > flat.amin(1))).float()
