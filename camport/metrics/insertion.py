"""Insertion."""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from camport.core.case import Case
from camport.core.metric import Curves
from camport.metrics.causal import Causal, Preset, Substrate
from camport.metrics.ranking import area

BASELINES: dict[Preset, Substrate] = {"percent": "blurred", "rise": "rise", "group-cam": "blurred"}


@dataclass(frozen=True)
class Insertion(Causal):
    r"""Insertion: how fast the probability comes as pixels come into a blurred image,
    the heatmap's largest first.

    .. math:: \int_0^1 p^c(x \text{ at the first } tHW \text{ pixels},
              \tilde{x} \text{ elsewhere})\, dt

    by the trapezoid rule. Petsiuk et al. 2018 (RISE), arXiv 1806.07421, algorithm 1. Equal values
    come in reading order.

    Presets: "percent" takes 100 steps from the blur of 51 pixels, sigma 50; "rise", the authors'
    program, 224 steps (224 of 224 x 224 pixels each) from their blur of 11 pixels, sigma 5;
    "group-cam", arXiv 2103.13859 section 4.3 and its authors' program, 28 steps (3.6 %) from the
    blur of 51 pixels, sigma 50.

    Range: [0,1], higher is better. Curve: "insertion", the baseline first.
    Cost: `steps + 1` forward passes.

    Args:
        steps: points of the curve beside the first; None is the preset's.
        baseline: what is there before: a value, one a channel, "blurred", "mean", or "rise";
            None is the preset's.
        preset: "percent", "rise" or "group-cam".
    """

    name: ClassVar[str] = "insertion"
    title: ClassVar[str] = "Insertion"
    paper: ClassVar[str] = "1806.07421"
    needs: ClassVar[frozenset[str]] = frozenset({"model"})

    def curves(self, case: Case) -> Curves:
        """The probability over the share of pixels."""

        def make() -> Tensor:
            value = BASELINES[self.preset] if self.baseline is None else self.baseline
            return self.curve(case, self.substrate(case, value), case.images)

        return {"insertion": case.once(self, make)}

    def summary(self, curves: Curves) -> Float[Tensor, " b"]:
        """The area under the curve."""
        return area(curves["insertion"])
