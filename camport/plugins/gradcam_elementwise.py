"""Element-wise Grad-CAM."""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from camport.core.explainer import Explainer
from camport.core.maps.fusion import Fusion, over_layers
from camport.core.probe import Probe


@dataclass(frozen=True)
class GradCAMElementWise(Explainer):
    r"""Element-wise Grad-CAM: products of activations and gradients,
    rectified before they are summed.

    .. math:: L = \sum_k \mathrm{ReLU}(G_k \odot A_k)

    As in the grad-cam library, which has no paper for it.

    Map: [b,h,w] of the layer, >= 0.
    Cost: `1` forward pass, and the backward pass behind the layer.

    Args:
        fusion: how maps of several layers are combined.
    """

    name: ClassVar[str] = "gradcam_elementwise"
    title: ClassVar[str] = "Element-wise Grad-CAM"
    paper: ClassVar[str] = "-"
    family: ClassVar[str] = "activation"
    needs_gradients: ClassVar[bool] = True

    fusion: Fusion = "max"

    def saliency(self, probe: Probe) -> Float[Tensor, "b h w"]:
        """sum_k relu(G_k A_k)."""
        return over_layers(probe, lambda a, g: (g * a).relu().sum(1), self.fusion)
