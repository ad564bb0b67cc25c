"""FEM, the feature explanation method."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor

from camport.core.explainer import Explainer
from camport.core.maps.fusion import Fusion, fuse
from camport.core.probe import Probe


@dataclass(frozen=True)
class FEM(Explainer):
    r"""FEM: where channels are unusually strong, each counted by its mean;
    knows no class and needs no gradient.

    .. math:: L = \sum_k \mu_k\, [A_k > \mu_k + \kappa \sigma_k]

    with mean and standard deviation of each channel over its places. Fuad et al. 2020, IPTA, doi
    10.1109/IPTA50016.2020.9286629, the k-sigma rule of section III.

    Deviation: strictly above the threshold, so that a constant channel, which has no strong place,
        counts nowhere.

    Map: [b,h,w] of the layer, signed where channels' means are.
    Cost: `1` forward pass.

    Args:
        k: how many standard deviations above its mean a channel is strong.
        preset: "paper", or "grad-cam": :math:`\sum_k m_k A_k`, with m_k the share of the strong
            places.
        fusion: how maps of several layers are combined.
    """

    name: ClassVar[str] = "fem"
    title: ClassVar[str] = "FEM"
    paper: ClassVar[str] = "10.1109/IPTA50016.2020.9286629"
    family: ClassVar[str] = "activation"
    needs_gradients: ClassVar[bool] = False

    k: float = 2.0
    preset: Literal["paper", "grad-cam"] = "paper"
    fusion: Fusion = "max"

    def saliency(self, probe: Probe) -> Float[Tensor, "b h w"]:
        """sum_k mu_k [A_k > mu_k + k sigma_k]."""
        return fuse([self._layer_map(a) for a in probe.activations], self.fusion)

    def _layer_map(self, a: Float[Tensor, "b c h w"]) -> Float[Tensor, "b h w"]:
        mean = a.mean((2, 3), keepdim=True)
        deviation = ((a - mean) ** 2).mean((2, 3), keepdim=True).sqrt()
        strong = (a > mean + self.k * deviation).to(a.dtype)
        if self.preset == "grad-cam":
            return (strong.mean((2, 3), keepdim=True) * a).sum(1)
        return (mean * strong).sum(1)
