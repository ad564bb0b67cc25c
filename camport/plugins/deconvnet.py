"""Deconvnet."""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from camport.core.explainer import Explainer
from camport.core.probe import Probe
from camport.plugins.guided_backprop import View, viewed


@dataclass(frozen=True)
class Deconvnet(Explainer):
    r"""Deconvnet: the gradient, with every ReLU's backward pass replaced by a ReLU of the gradient
    itself.

    .. math:: R^l = \mathrm{ReLU}(R^{l+1}), \quad M_{ij} = \max_c \big| R^0_{cij} \big|

    Zeiler and Fergus 2014, arXiv 1311.2901, section 2.1 (in words). The rule acts on the function,
    so that modules, functional, in-place and reused ReLUs and ReLU6s all follow it;
    ReluRuleWarning where the network has none.

    All that the backward pass keeps of the image is which place each max-pooling took. A network
    without max-pooling gives the same map for every image.

    `Explanation.figures["gradient"]` [b,c,H,W] is the signed image R^0;
    `camport.view.gradient_picture` draws it.

    Map: [b,H,W] of the images, >= 0.
    Cost: `1` forward pass and its backward pass.

    Args:
        view: "all", or only the "positive" or "negative" part.
    """

    name: ClassVar[str] = "deconvnet"
    title: ClassVar[str] = "Deconvnet"
    paper: ClassVar[str] = "1311.2901"
    family: ClassVar[str] = "input-gradient"
    needs_gradients: ClassVar[bool] = True
    needs_layer: ClassVar[bool] = False

    view: View = "all"

    def saliency(self, probe: Probe) -> Float[Tensor, "b H W"]:
        """max over channels of the view of the rectified gradient."""
        gradient = probe.input_gradient(relu="deconvnet")
        probe.note("gradient", lambda: gradient)
        return viewed(gradient, self.view)
