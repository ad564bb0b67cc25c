"""ShapleyCAM."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from camport.core.explainer import Explainer
from camport.core.maps.fusion import Fusion, fuse
from camport.core.probe import Probe


@dataclass(frozen=True)
class ShapleyCAM(Explainer):
    r"""ShapleyCAM: Grad-CAM with weights that take the curvature into account.

    .. math:: L = \mathrm{ReLU}\Big(\sum_k w_k A_k\Big), \quad
              w_k = \frac{1}{hw} \sum_{ij} \Big(G - \tfrac{1}{2} H A\Big)_{kij}

    with G the gradient and H the Hessian of y^c by the activations: the Shapley values of a game in
    which activations are taken away, its payoff expanded to second order. Cai 2025, arXiv
    2501.06261, the closed form of its section on ShapleyCAM.

    Where the model is piecewise linear behind the layer, as with a logit behind pooling, H is 0 and
    this is Grad-CAM; the paper scores by more than the logit, for which see `score_as="rest"` of
    the classification adapter.

    Map: [b,h,w] of the layer, >= 0.
    Cost: `1` forward pass, the backward pass behind the layer, and the derivative of that.

    Args:
        fusion: how maps of several layers are combined.
    """

    name: ClassVar[str] = "shapleycam"
    title: ClassVar[str] = "ShapleyCAM"
    paper: ClassVar[str] = "2501.06261"
    family: ClassVar[str] = "activation"
    needs_gradients: ClassVar[bool] = True

    fusion: Fusion = "max"

    def saliency(self, probe: Probe) -> Float[Tensor, "b h w"]:
        """relu(sum_k mean_ij(G_k - (H A)_k / 2) A_k)."""
        activations, curvatures = probe.activations, []
        for i, a in enumerate(activations):
            # zeros at the other layers: else mixed derivatives between layers would come in
            along = [
                a if j == i else torch.zeros_like(other) for j, other in enumerate(activations)
            ]
            curvatures.append(probe.hessian_product(along)[i])
        weighed = zip(activations, probe.gradients, curvatures, strict=True)
        maps = [((g - h / 2).mean((2, 3), keepdim=True) * a).sum(1).relu() for a, g, h in weighed]
        return fuse(maps, self.fusion)
