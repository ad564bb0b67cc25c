"""Deletion."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor

from camport.core.case import Case
from camport.core.metric import Curves
from camport.metrics.causal import Causal
from camport.metrics.ranking import area


@dataclass(frozen=True)
class Deletion(Causal):
    r"""Deletion: how fast the probability goes as pixels are taken away,
    the heatmap's largest first.

    .. math:: \int_0^1 p^c(x_0 \text{ at the first } tHW \text{ pixels}, x \text{ elsewhere})\, dt

    by the trapezoid rule. Petsiuk et al. 2018 (RISE), arXiv 1806.07421, algorithm 1. Equal values
    go in reading order.

    Presets: "percent" takes 100 steps, "rise" 224, "group-cam" 28 (arXiv 2103.13859, section 4.3);
    of all the baseline is 0, the mean colour where images are normalised.

    Range: [0,1], lower is better. Curve: "deletion", the image first.
    Cost: `steps + 1` forward passes.

    Args:
        steps: points of the curve beside the first; None is the preset's.
        baseline: what is there afterwards: a value, one a channel, "blurred", "mean", or "rise";
            None is 0.
        preset: "percent", "rise" or "group-cam".
    """

    name: ClassVar[str] = "deletion"
    title: ClassVar[str] = "Deletion"
    paper: ClassVar[str] = "1806.07421"
    needs: ClassVar[frozenset[str]] = frozenset({"model"})
    better: ClassVar[Literal["higher", "lower"]] = "lower"

    def curves(self, case: Case) -> Curves:
        """The probability over the share of pixels."""

        def make() -> Tensor:
            value = 0.0 if self.baseline is None else self.baseline
            return self.curve(case, case.images, self.substrate(case, value))

        return {"deletion": case.once(self, make)}

    def summary(self, curves: Curves) -> Float[Tensor, " b"]:
        """The area under the curve."""
        return area(curves["deletion"])
