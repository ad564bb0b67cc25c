"""Integrated gradients."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from camport.core.explainer import Explainer
from camport.core.maps.baseline import Baseline, baseline, check_baseline, check_fits
from camport.core.maps.quadrature import Rule, quadrature
from camport.core.probe import Probe
from camport.errors import InputError


@dataclass(frozen=True)
class IntegratedGradients(Explainer):
    r"""Integrated gradients: the gradient's mean on the straight way from a baseline to the image,
    times the way.

    .. math:: M_{ij} = \sum_c (x - x')_{cij} \int_0^1
              \frac{\partial y^c(x' + \alpha (x - x'))}{\partial x_{cij}} d\alpha

    Sundararajan et al. 2017, arXiv 1703.01365, eq. 1.

    Complete: the map sums up to y(x) - y(x'). `Explanation.figures` has that "difference" [b], and
    in "completeness_gap" [b] how much of it the map misses: where that is not small, take more
    steps. "gradient" [b,c,H,W] is the map before channels are summed;
    `camport.view.gradient_picture` draws it.

    Map: [b,H,W] of the images, signed.
    Cost: `2 + steps` forward passes, and a backward pass a step.

    Args:
        steps: points on the way.
        rule: where they lie and what they weigh: "gausslegendre"; "riemann", the paper's sum at the
            right ends (eq. 3); "middle", the middles; "trapezoid", with both ends.
        baseline: x', as the model takes its images: a value of all pixels, 0 being black,
            or the mean colour where images are normalised; a value a channel; a tensor [c,H,W];
            "blurred", each image's Gaussian blur, or "mean", its mean colour.
    """

    name: ClassVar[str] = "integrated_gradients"
    title: ClassVar[str] = "Integrated gradients"
    paper: ClassVar[str] = "1703.01365"
    family: ClassVar[str] = "input-gradient"
    needs_gradients: ClassVar[bool] = True
    needs_layer: ClassVar[bool] = False

    steps: int = 50
    rule: Rule = "gausslegendre"
    baseline: Baseline = 0.0

    def __post_init__(self) -> None:
        if self.steps < 1 or (self.rule == "trapezoid" and self.steps < 2):
            raise InputError(
                f"steps is {self.steps}; give 1 or more, 2 or more for the trapezoid rule"
            )
        check_baseline(self.baseline, "baseline")

    def saliency(self, probe: Probe) -> Float[Tensor, "b H W"]:
        """sum over channels of (x - x') times the mean gradient."""
        start = baseline(self.baseline, probe.images)
        attributions = integrated(probe, start, *quadrature(self.steps, self.rule))
        probe.note("gradient", lambda: attributions)
        probe.note("difference", lambda: probe.y - probe.score(start[None])[0])
        probe.note(
            "completeness_gap", lambda: probe.figures["difference"] - attributions.sum((1, 2, 3))
        )
        return attributions.sum(1)

    def check(self, probe: Probe) -> None:
        """InputError for a baseline that does not fit the images."""
        check_fits(self.baseline, probe.images, "baseline")


def integrated(
    probe: Probe, start: Float[Tensor, "b c H W"], places: Sequence[float], weights: Sequence[float]
) -> Float[Tensor, "b c H W"]:
    """(x - start) times the weighted sum of gradients at `places` on the way from `start` to the
    images x."""
    way = probe.images - start
    codes = [
        torch.tensor(v, dtype=torch.float64).to(way.device, way.dtype) for v in (places, weights)
    ]

    def step(place: Tensor, weight: Tensor) -> Tensor:
        place, weight = (v[:, None, None, None, None] for v in (place, weight))
        return weight * probe.input_gradient(start + place * way)

    return way * probe.total(codes, step)
