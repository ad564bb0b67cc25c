"""Eigen-Grad-CAM."""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from camport.core.explainer import Explainer
from camport.core.maps.fusion import Fusion, over_layers
from camport.core.maps.principal_component import first_component
from camport.core.probe import Probe


@dataclass(frozen=True)
class EigenGradCAM(Explainer):
    r"""Eigen-Grad-CAM: Eigen-CAM of activations times gradients, which makes it speak of a class.

    .. math:: G \odot A - \overline{G \odot A} = U \Sigma V^\top \;(hw \times c), \quad
              L = \big(G \odot A - \overline{G \odot A}\big) v_1,
              \quad G = \partial y^c / \partial A

    As in the grad-cam library, after Muhammad and Yeasin 2020, arXiv 2008.00299.

    Deviation: as Eigen-CAM's; the sign is that of the mean of G A over channels, so that evidence
    for the class is positive.

    Map: [b,h,w] of the layer, signed.
    Cost: `1` forward pass, and the backward pass behind the layer.

    Args:
        centre: subtract each channel's mean first.
        fusion: how maps of several layers are combined.
    """

    name: ClassVar[str] = "eigengradcam"
    title: ClassVar[str] = "Eigen-Grad-CAM"
    paper: ClassVar[str] = "2008.00299"
    family: ClassVar[str] = "activation"
    needs_gradients: ClassVar[bool] = True

    centre: bool = True
    fusion: Fusion = "max"

    def saliency(self, probe: Probe) -> Float[Tensor, "b h w"]:
        """(G A) v_1."""
        return over_layers(probe, lambda a, g: first_component(g * a, self.centre), self.fusion)
