"""Guided backpropagation."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor

from camport.core.explainer import Explainer
from camport.core.probe import Probe

View = Literal["all", "positive", "negative"]
"""What a map shows of a signed image: its magnitude, what raises the score, or what lowers it."""


@dataclass(frozen=True)
class GuidedBackprop(Explainer):
    r"""Guided backpropagation: gradients pass a ReLU where its input and they themselves are
    positive.

    .. math:: R^l = \mathbb{1}[x^l > 0] \, \mathrm{ReLU}(R^{l+1}),
    \quad M_{ij} = \max_c \big| R^0_{cij} \big|

    Springenberg et al. 2015, arXiv 1412.6806, section 3.4 and figure 1c. The rule acts on the
    function, so that modules, functional, in-place and reused ReLUs and ReLU6s all follow it;
    ReluRuleWarning where the network has none.

    `Explanation.figures["gradient"]` [b,c,H,W] is the signed image R^0;
    `camport.view.gradient_picture` draws it in colour, in grey, and its positive and negative
    parts.

    Map: [b,H,W] of the images, >= 0.
    Cost: `1` forward pass and its backward pass.

    Args:
        view: "all", or only the "positive" or "negative" part.
    """

    name: ClassVar[str] = "guided_backprop"
    title: ClassVar[str] = "Guided backpropagation"
    paper: ClassVar[str] = "1412.6806"
    family: ClassVar[str] = "input-gradient"
    needs_gradients: ClassVar[bool] = True
    needs_layer: ClassVar[bool] = False

    view: View = "all"

    def saliency(self, probe: Probe) -> Float[Tensor, "b H W"]:
        """max over channels of the view of the guided gradient."""
        gradient = probe.input_gradient(relu="guided")
        probe.note("gradient", lambda: gradient)
        return viewed(gradient, self.view)


def viewed(signed: Float[Tensor, "b c H W"], view: View) -> Float[Tensor, "b H W"]:
    """The part of a signed image that a view shows, >= 0, its largest value over channels."""
    if view == "all":
        return signed.abs().amax(1)
    return (signed if view == "positive" else -signed).relu().amax(1)
