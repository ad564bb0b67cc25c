"""ROAD, the most relevant pixels first."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor

from camport.core.case import Case
from camport.core.metric import Curves
from camport.metrics.road import ROAD


@dataclass(frozen=True)
class ROADMostRelevantFirst(ROAD):
    """ROAD, the most relevant pixels taken away first: the mean probability over the shares.

    Rong et al. 2022, arXiv 2202.00449, section 5. Options and curves are those of `ROAD`, with
    which it shares its curve.

    Range: [0,1], lower is better.
    Cost: a forward pass and an imputation a share.
    """

    name: ClassVar[str] = "road_morf"
    title: ClassVar[str] = "ROAD, most relevant first"
    better: ClassVar[Literal["higher", "lower"]] = "lower"
    range: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def curves(self, case: Case) -> Curves:
        """The probability at each share."""
        shared = ROAD(self.shares, self.noise, self.seed)
        return {"morf": shared.curve(case, "morf")}

    def summary(self, curves: Curves) -> Float[Tensor, " b"]:
        """The mean over the shares."""
        return curves["morf"].mean(1)
