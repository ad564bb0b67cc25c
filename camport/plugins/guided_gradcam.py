"""Guided Grad-CAM."""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from camport.core.explainer import Explainer
from camport.core.maps.fusion import Fusion
from camport.core.maps.heatmap import upsample
from camport.core.probe import Probe
from camport.plugins.gradcam import GradCAM
from camport.plugins.guided_backprop import View, viewed


@dataclass(frozen=True)
class GuidedGradCAM(Explainer):
    r"""Guided Grad-CAM: guided backpropagation where Grad-CAM is hot.

    .. math:: M_{ij} = \max_c \big| \mathrm{up}(L_\text{Grad-CAM})_{ij} \, R^0_{cij} \big|

    Selvaraju et al. 2017, arXiv 1610.02391, section 3.2 (in words), upsampled bilinearly.

    `Explanation.figures["gradient"]` [b,c,H,W] is the signed product;
    `camport.view.gradient_picture` draws it.

    Map: [b,H,W] of the images, >= 0.
    Cost: `2` forward passes, a backward pass, and one behind the layer.

    Args:
        view: "all", or only the "positive" or "negative" part of guided backpropagation.
        fusion: how Grad-CAMs of several layers are combined.
    """

    name: ClassVar[str] = "guided_gradcam"
    title: ClassVar[str] = "Guided Grad-CAM"
    paper: ClassVar[str] = "1610.02391"
    family: ClassVar[str] = "input-gradient"
    needs_gradients: ClassVar[bool] = True

    view: View = "all"
    fusion: Fusion = "max"

    def saliency(self, probe: Probe) -> Float[Tensor, "b H W"]:
        """max over channels of upsample(gradcam) times the view of guided backpropagation."""
        cam = GradCAM(self.fusion).saliency(probe)
        guided = probe.input_gradient(relu="guided")
        product = upsample(cam, (guided.shape[-2], guided.shape[-1]))[:, None] * guided
        probe.note("gradient", lambda: product)
        return viewed(product, self.view)
