"""Grad-CAM++."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from camport.core.explainer import Explainer
from camport.core.maps.fusion import Fusion, over_layers
from camport.core.probe import Probe


@dataclass(frozen=True)
class GradCAMPlusPlus(Explainer):
    r"""Grad-CAM++: positive gradients weighted location by location.

    .. math:: L = \mathrm{ReLU}\Big(\sum_k w_k A_k\Big), \quad
              w_k = \sum_{ij} \alpha_{kij}\, \mathrm{ReLU}(G_{kij}), \quad
              \alpha_{kij} = \frac{G_{kij}^2}{2 G_{kij}^2 + \big(\sum_{ab} A_{kab}\big) G_{kij}^3}

    with G = dy/dA. Chattopadhyay et al. 2018, arXiv 1710.11063, eq. 5 and 19.

    Deviation: the fraction is reduced by G^2, to 1 / (2 + sum(A) G), and 0 where G or the
    denominator is 0; small gradients then neither vanish nor drown in an epsilon.

    Presets for figures that were made elsewhere: "grad-cam" adds 1e-6 to the denominator of the
    unreduced fraction, in which gradients below 1e-3 drown. "torchcam" (0.5.0 and before) divides a
    copy and keeps what it wanted to divide: alpha is G^2.

    Map: [b,h,w] of the layer, >= 0.
    Cost: `1` forward pass, and the backward pass behind the layer.

    Args:
        preset: "paper", "grad-cam" or "torchcam".
        fusion: how maps of several layers are combined.
    """

    name: ClassVar[str] = "gradcam++"
    title: ClassVar[str] = "Grad-CAM++"
    paper: ClassVar[str] = "1710.11063"
    family: ClassVar[str] = "activation"
    needs_gradients: ClassVar[bool] = True

    preset: Literal["paper", "grad-cam", "torchcam"] = "paper"
    fusion: Fusion = "max"

    def saliency(self, probe: Probe) -> Float[Tensor, "b h w"]:
        """relu(sum_k w_k A_k)."""
        return over_layers(probe, self._layer_map, self.fusion)

    def _layer_map(
        self, a: Float[Tensor, "b c h w"], g: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b h w"]:
        weights = (self._alpha(a, g) * g.relu()).sum((2, 3), keepdim=True)
        return (weights * a).sum(1).relu()

    def _alpha(
        self, a: Float[Tensor, "b c h w"], g: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b c h w"]:
        total = a.sum((2, 3), keepdim=True)
        if self.preset == "torchcam":
            return g**2
        if self.preset == "grad-cam":
            return torch.where(g != 0, g**2 / (2 * g**2 + total * g**3 + 1e-6), 0)
        denominator = 2 + total * g
        defined = (g != 0) & (denominator != 0)
        return torch.where(defined, 1 / torch.where(defined, denominator, 1), 0)
