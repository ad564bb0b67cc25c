"""Grad-CAM++."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from camport.core.explainer import Explainer
from camport.core.fusion import Fusion, over_layers
from camport.core.probe import Probe


@dataclass(frozen=True)
class GradCAMPlusPlus(Explainer):
    r"""Grad-CAM++: positive gradients weighted location by location.

    .. math:: L = \mathrm{ReLU}\Big(\sum_k w_k A_k\Big), \quad
              w_k = \sum_{ij} \alpha_{kij}\, \mathrm{ReLU}(G_{kij}), \quad
              \alpha_{kij} = \frac{G_{kij}^2}{2 G_{kij}^2 + \big(\sum_{ab} A_{kab}\big) G_{kij}^3}

    with G = dy/dA. Chattopadhyay et al. 2018, arXiv 1710.11063, eq. 5 and 19. Maps are >= 0.

    Deviation: the fraction is reduced by G^2, to 1 / (2 + sum(A) G), and 0 where G or the denominator is 0; small
    gradients then neither vanish nor drown in an epsilon.

    Args:
        fusion: how maps of several layers are combined.
    """

    name: ClassVar[str] = "gradcam++"
    title: ClassVar[str] = "Grad-CAM++"
    paper: ClassVar[str] = "1710.11063"
    family: ClassVar[str] = "activation"
    needs_gradients: ClassVar[bool] = True

    fusion: Fusion = "max"

    def saliency(self, probe: Probe) -> Float[Tensor, "b h w"]:
        """relu(sum_k w_k A_k)."""
        return over_layers(probe, _layer_map, self.fusion)


def _layer_map(a: Float[Tensor, "b c h w"], g: Float[Tensor, "b c h w"]) -> Float[Tensor, "b h w"]:
    denominator = 2 + a.sum((2, 3), keepdim=True) * g
    defined = (g != 0) & (denominator != 0)
    alpha = torch.where(defined, 1 / torch.where(defined, denominator, 1), 0)
    weights = (alpha * g.relu()).sum((2, 3), keepdim=True)
    return (weights * a).sum(1).relu()
