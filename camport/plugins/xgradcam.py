"""XGrad-CAM."""

import warnings
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from camport.core.explainer import Explainer
from camport.core.maps.fusion import Fusion, over_layers
from camport.core.probe import Probe
from camport.errors import GuardWarning

CANCELLED = 1e-5
"""A channel's sum below this share of its absolute sum is rounding error,
so dividing by it means nothing."""

BESIDE = {"grad-cam": 1e-7, "torchcam": 1e-8}
"""What these libraries add to a channel's sum."""


@dataclass(frozen=True)
class XGradCAM(Explainer):
    r"""XGrad-CAM: gradients weighted by each location's share of the channel's activation.

    .. math:: L = \mathrm{ReLU}\Big(\sum_k w_k A_k\Big), \quad
              w_k = \sum_{ij} \frac{A_{kij}}{\sum_{ab} A_{kab}} G_{kij}

    Fu et al. 2020, arXiv 2008.02312, eq. 8.

    Deviation: a channel whose activations cancel (sum near 0, as behind SiLU or a layer
    normalisation) has no defined weight; it gets 0 and a GuardWarning says on what share of
    channels. Channels that are 0 have weight 0.

    Presets for figures that were made elsewhere: "grad-cam" and "torchcam" divide by the sum plus
    1e-7 or 1e-8, whatever it is.

    Map: [b,h,w] of the layer, >= 0.
    Cost: `1` forward pass, and the backward pass behind the layer.

    Args:
        preset: "paper", "grad-cam" or "torchcam".
        fusion: how maps of several layers are combined.
    """

    name: ClassVar[str] = "xgradcam"
    title: ClassVar[str] = "XGrad-CAM"
    paper: ClassVar[str] = "2008.02312"
    family: ClassVar[str] = "activation"
    needs_gradients: ClassVar[bool] = True

    preset: Literal["paper", "grad-cam", "torchcam"] = "paper"
    fusion: Fusion = "max"

    def saliency(self, probe: Probe) -> Float[Tensor, "b h w"]:
        """relu(sum_k w_k A_k)."""
        return over_layers(probe, self._layer_map, self.fusion)

    def check(self, probe: Probe) -> None:
        """Warns where activations cancel or are negative on the whole,
        since weights then say little."""
        for layer, a in zip(probe.layers, probe.activations, strict=True):
            total = a.sum((2, 3))
            odd = (_cancels(a)[..., 0, 0] | (total < 0)).double().mean().item()
            if odd > 0:
                done = "set to 0" if self.preset == "paper" else "blown up"
                warnings.warn(
                    f"xgradcam at {layer}: the activations of {odd:.1%} of the channels sum to a"
                    f" negative number or cancel; weights that cancel are {done}. Choose a layer"
                    " behind a ReLU, or hirescam",
                    GuardWarning,
                    stacklevel=5,
                )

    def _layer_map(
        self, a: Float[Tensor, "b c h w"], g: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b h w"]:
        total = a.sum((2, 3), keepdim=True)
        products = (a * g).sum((2, 3), keepdim=True)
        if self.preset != "paper":
            return (products / (total + BESIDE[self.preset]) * a).sum(1).relu()
        defined = ~_cancels(a) & (total != 0)
        return (
            (torch.where(defined, products / torch.where(defined, total, 1), 0) * a).sum(1).relu()
        )


def _cancels(a: Float[Tensor, "b c h w"]) -> Bool[Tensor, "b c 1 1"]:
    total, absolute = a.sum((2, 3), keepdim=True).abs(), a.abs().sum((2, 3), keepdim=True)
    return (absolute > 0) & (total <= CANCELLED * absolute)
