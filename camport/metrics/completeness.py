"""Completeness."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from camport.core.case import Case
from camport.core.maps.baseline import baseline, check_baseline, check_fits
from camport.core.metric import Metric


@dataclass(frozen=True)
class Completeness(Metric):
    r"""Completeness: how much of the score's difference to a baseline the sum of the raw map
    misses.

    .. math:: \frac{|\sum_{ij} M_{ij} - (y(x) - y(x'))|}{|y(x) - y(x')|}

    Sundararajan et al. 2017, arXiv 1703.01365, proposition 1: integrated gradients have 0 but for
    the sum's error. Maps whose values are no parts of the score have anything.

    Range: [0, inf), lower is better; 1 for a map of zeros; where y(x) = y(x') the sum of the map
    itself.
    Cost: one forward pass.

    Args:
        baseline: x': a value, one a channel, "blurred" or "mean"; the one that the method begins
            at.
    """

    name: ClassVar[str] = "completeness"
    title: ClassVar[str] = "Completeness gap"
    paper: ClassVar[str] = "1703.01365"
    needs: ClassVar[frozenset[str]] = frozenset({"model"})
    better: ClassVar[Literal["higher", "lower"]] = "lower"
    range: ClassVar[tuple[float, float]] = (0.0, math.inf)
    scale_free: ClassVar[bool] = False

    baseline: float | tuple[float, ...] | Literal["blurred", "mean"] = 0.0

    def __post_init__(self) -> None:
        check_baseline(self.baseline, "baseline")

    def measure(self, case: Case) -> Float[Tensor, " b"]:
        """|sum of the raw map - difference| / |difference|."""
        case.check(self)
        check_fits(self.baseline, case.images, "baseline")
        start = case.scores(baseline(self.baseline, case.images), probability=False)
        wanted = (case.scores.y - start).double()
        raw = case.heatmap if case.explanation is None else case.explanation.raw
        gap = (raw.double().sum((1, 2)) - wanted).abs()
        return gap / torch.where(wanted == 0, 1, wanted.abs())
