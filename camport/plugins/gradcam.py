"""Grad-CAM."""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from camport.core.explainer import Explainer
from camport.core.maps.fusion import Fusion, over_layers
from camport.core.probe import Probe


@dataclass(frozen=True)
class GradCAM(Explainer):
    r"""Grad-CAM: channels weighted by their mean gradient.

    .. math:: L = \mathrm{ReLU}\Big(\sum_k \alpha_k A_k\Big), \quad
              \alpha_k = \frac{1}{hw} \sum_{ij} \frac{\partial y^c}{\partial A_{kij}}

    Selvaraju et al. 2017, arXiv 1610.02391, eq. 1 and 2.

    Map: [b,h,w] of the layer, >= 0.
    Cost: `1` forward pass, and the backward pass behind the layer.

    Args:
        fusion: how maps of several layers are combined.
    """

    name: ClassVar[str] = "gradcam"
    title: ClassVar[str] = "Grad-CAM"
    paper: ClassVar[str] = "1610.02391"
    family: ClassVar[str] = "activation"
    needs_gradients: ClassVar[bool] = True

    fusion: Fusion = "max"

    def saliency(self, probe: Probe) -> Float[Tensor, "b h w"]:
        """relu(sum_k mean_ij(G_k) A_k)."""
        return over_layers(
            probe, lambda a, g: (g.mean((2, 3), keepdim=True) * a).sum(1).relu(), self.fusion
        )
