"""Eigen-CAM."""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from camport.core.explainer import Explainer
from camport.core.maps.fusion import Fusion, fuse
from camport.core.maps.principal_component import first_component
from camport.core.probe import Probe


@dataclass(frozen=True)
class EigenCAM(Explainer):
    r"""Eigen-CAM: activations projected on their first principal direction;
    knows no class and needs no gradient.

    .. math:: A = U \Sigma V^\top \;(hw \times c), \quad L = A v_1

    Muhammad and Yeasin 2020, arXiv 2008.00299, eq. 2 and 3.

    Deviation: a graph has no decomposition, so v_1 is found by squaring the Gram matrix
    (`camport.core.maps.principal_component`), and its sign, which a decomposition leaves open, is
    that of the mean activation.

    Map: [b,h,w] of the layer, signed; >= 0 behind a ReLU.
    Cost: `1` forward pass.

    Args:
        centre: subtract each channel's mean first, as the grad-cam library does and the paper does
            not.
        fusion: how maps of several layers are combined.
    """

    name: ClassVar[str] = "eigencam"
    title: ClassVar[str] = "Eigen-CAM"
    paper: ClassVar[str] = "2008.00299"
    family: ClassVar[str] = "activation"
    needs_gradients: ClassVar[bool] = False

    centre: bool = False
    fusion: Fusion = "max"

    def saliency(self, probe: Probe) -> Float[Tensor, "b h w"]:
        """A v_1."""
        return fuse([first_component(a, self.centre) for a in probe.activations], self.fusion)
