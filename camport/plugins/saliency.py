"""Vanilla backpropagation."""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from camport.core.explainer import Explainer
from camport.core.probe import Probe


@dataclass(frozen=True)
class Saliency(Explainer):
    r"""Image-specific class saliency: how much each pixel's change would change the score.

    .. math:: M_{ij} = \max_c \Big| \frac{\partial y^c}{\partial x_{cij}} \Big|

    Simonyan et al. 2014, arXiv 1312.6034, section 3.1, eq. 4.

    `Explanation.figures["gradient"]` [b,c,H,W] is the signed gradient;
    `camport.view.gradient_picture` draws it.

    Map: [b,H,W] of the images, >= 0.
    Cost: `1` forward pass and its backward pass.
    """

    name: ClassVar[str] = "saliency"
    title: ClassVar[str] = "Vanilla backpropagation"
    paper: ClassVar[str] = "1312.6034"
    family: ClassVar[str] = "input-gradient"
    needs_gradients: ClassVar[bool] = True
    needs_layer: ClassVar[bool] = False

    def saliency(self, probe: Probe) -> Float[Tensor, "b h w"]:
        """max over channels of abs(dy/dx)."""
        gradient = probe.input_gradient()
        probe.note("gradient", lambda: gradient)
        return gradient.abs().amax(1)
