"""ROAD."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from camport.core.case import Case
from camport.core.metric import Curves, Metric
from camport.errors import InputError
from camport.metrics.imputation import imputed
from camport.metrics.ranking import first, ranks


@dataclass(frozen=True)
class ROAD(Metric):
    r"""ROAD: what the probability loses by the most relevant pixels,
    against what by the least relevant ones.

    .. math:: \frac{1}{2n} \sum_{i=1}^{n} \big(p^c(x \text{ without the } s_i
              \text{ least relevant})
              - p^c(x \text{ without the } s_i \text{ most relevant})\big)

    Pixels are taken away by noisy linear imputation: each becomes the weighted mean of its
    neighbours, so that neither their absence nor the shape of the hole shows. Rong et al. 2022,
    arXiv 2202.00449, sections 4.2 and 5; the combination of both orders is that of grad-cam 1.5.
    Equal values are taken away in reading order.

    Range: [-0.5,0.5], higher is better; a random map has 0 in the mean. Curves over the shares:
    "morf", the most relevant pixels removed first, and "lerf", the least relevant ones.
    Cost: two forward passes a share, and as many imputations.

    Args:
        shares: s_i, shares of pixels that are taken away, below 1.
        noise: standard deviation of the noise on imputed pixels, in the units of the images.
        seed: chooses it.
    """

    name: ClassVar[str] = "road"
    title: ClassVar[str] = "ROAD"
    paper: ClassVar[str] = "2202.00449"
    needs: ClassVar[frozenset[str]] = frozenset({"model"})
    range: ClassVar[tuple[float, float]] = (-0.5, 0.5)

    shares: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    noise: float = 0.01
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.shares or not all(0 < s < 1 for s in self.shares):
            raise InputError(f"shares are {self.shares}; wanted one or more in (0,1)")

    def curves(self, case: Case) -> Curves:
        """The probability at each share, in both orders."""
        return {"morf": self.curve(case, "morf"), "lerf": self.curve(case, "lerf")}

    def curve(self, case: Case, order: Literal["morf", "lerf"]) -> Float[Tensor, "b n"]:
        """The probability at each share, the "mo"st or the "le"ast "r"elevant pixels taken away
        "f"irst."""
        return case.once((self, order), lambda: self._curve(case, order))

    def summary(self, curves: Curves) -> Float[Tensor, " b"]:
        """Half the mean difference."""
        return (curves["lerf"] - curves["morf"]).mean(1) / 2

    def _curve(self, case: Case, order: str) -> Float[Tensor, "b n"]:
        places = ranks(case.heatmap)
        pixels = places[0].numel()
        places = places if order == "morf" else pixels - 1 - places
        counts = torch.tensor(
            [min(round(s * pixels), pixels - 1) for s in self.shares], device=places.device
        )

        def without(numbers: Tensor) -> Tensor:
            missing = first(places, counts[numbers])
            images = case.images.expand(len(numbers), *case.images.shape)
            filled = imputed(images.flatten(0, 1), missing.flatten(0, 1), self.noise, self.seed)
            return filled.unflatten(0, images.shape[:2])

        return case.scores.each(len(counts), without).T
