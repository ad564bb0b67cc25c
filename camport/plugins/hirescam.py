"""HiResCAM."""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from camport.core.explainer import Explainer
from camport.core.maps.cancellation import warn_of_cancellation
from camport.core.maps.fusion import Fusion, over_layers
from camport.core.probe import Probe


@dataclass(frozen=True)
class HiResCAM(Explainer):
    r"""HiResCAM: activations times gradients, element by element.

    .. math:: L = \mathrm{ReLU}\Big(\sum_k G_k \odot A_k\Big), \quad G = \partial y^c / \partial A

    Draelos and Carin 2020, arXiv 2011.08891, eq. 3.

    Before a layer normalisation that sees place by place the products cancel to rounding noise,
    which is warned of.

    Map: [b,h,w] of the layer, >= 0; signed without the ReLU of the display, `relu=False`.
    Cost: `1` forward pass, and the backward pass behind the layer.

    Args:
        relu: keep positive evidence only.
        fusion: how maps of several layers are combined.
    """

    name: ClassVar[str] = "hirescam"
    title: ClassVar[str] = "HiResCAM"
    paper: ClassVar[str] = "2011.08891"
    family: ClassVar[str] = "activation"
    needs_gradients: ClassVar[bool] = True

    relu: bool = True
    fusion: Fusion = "max"

    def saliency(self, probe: Probe) -> Float[Tensor, "b h w"]:
        """relu(sum_k G_k A_k)."""

        def layer_map(a: Tensor, g: Tensor) -> Tensor:
            signed = (g * a).sum(1)
            return signed.relu() if self.relu else signed

        return over_layers(probe, layer_map, self.fusion)

    def check(self, probe: Probe) -> None:
        """Warns where the products cancel over the channels, as before a layer normalisation."""
        warn_of_cancellation(self.name, probe, probe.gradients)
