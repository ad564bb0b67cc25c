"""What insertion and deletion share: their options, their presets, and the curve."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from camport.core.case import Case
from camport.core.maps.baseline import Drawn, baseline, check_baseline, check_fits
from camport.core.metric import Metric
from camport.errors import InputError
from camport.metrics.ranking import first, ranks, shares

Preset = Literal["percent", "rise", "group-cam"]
STEPS = {"percent": 100, "rise": 224, "group-cam": 28}
"""1 % of the pixels a step; 224 of 224 x 224 pixels; 8 x 224 of them, the paper's 3.6 %."""
Substrate = float | tuple[float, ...] | Drawn | Literal["rise"]
"""As `camport.core.maps.baseline.Baseline`, or "rise" for the blur of RISE's authors."""


@dataclass(frozen=True)
class Causal(Metric):
    """Options of insertion and deletion; abstract.

    Args:
        steps: points of the curve beside the first; None is the preset's.
        baseline: what pixels are without the image; None is the preset's.
        preset: "percent", "rise" or "group-cam".
    """

    steps: int | None = None
    baseline: Substrate | None = None
    preset: Preset = "percent"

    def __post_init__(self) -> None:
        if self.preset not in STEPS:
            raise InputError(f"preset is {self.preset!r}; it is one of {', '.join(STEPS)}")
        if self.steps is not None and self.steps < 1:
            raise InputError(f"steps is {self.steps}; a curve has 1 or more")
        if self.baseline not in (None, "rise"):
            check_baseline(self.baseline, "baseline")

    def curve(
        self, case: Case, start: Float[Tensor, "b c H W"], end: Float[Tensor, "b c H W"]
    ) -> Float[Tensor, "b n"]:
        """The probability as the pixels of `start` become those of `end`,
        the heatmap's largest first."""
        places = ranks(case.heatmap)
        steps = STEPS[self.preset] if self.steps is None else self.steps
        counts = shares(steps, places[0].numel(), places.device)
        scores = case.scores.each(
            len(counts), lambda n: torch.where(first(places, counts[n]), end, start)
        )
        return scores.T

    def substrate(self, case: Case, value: Substrate) -> Float[Tensor, "b c H W"]:
        """The images without what they show."""
        if value == "rise":
            return rise_blur(case.images)
        check_fits(value, case.images, "baseline")
        return baseline(value, case.images)


def rise_blur(images: Float[Tensor, "b c H W"]) -> Float[Tensor, "b c H W"]:
    """The blur of RISE's authors: 11 pixels wide, sigma 5, black beyond the edges.

    Their kernel is scipy's gaussian_filter of a dirac in 11 pixels: what of a Gaussian cut off at
    20 pixels lies outside of the 11 is mirrored back into them.
    """
    width, sigma, reach = 11, 5.0, 20
    weights = [math.exp(-(i**2) / (2 * sigma**2)) for i in range(-reach, reach + 1)]
    kernel = [0.0] * width
    for offset, weight in zip(range(-reach, reach + 1), weights, strict=True):
        place = (width // 2 + offset) % (2 * width)  # d c b a | a b c d | d c b a
        kernel[min(place, 2 * width - 1 - place)] += weight / sum(weights)
    row = torch.tensor(kernel, dtype=torch.float64).to(images.device, images.dtype)
    b, c = images.shape[:2]
    flat = images.flatten(0, 1)[:, None]
    flat = F.conv2d(flat, row.reshape(1, 1, 1, -1), padding=(0, width // 2))
    return F.conv2d(flat, row.reshape(1, 1, -1, 1), padding=(width // 2, 0))[:, 0].unflatten(
        0, (b, c)
    )
