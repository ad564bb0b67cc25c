"""ODAM."""

import math
from array import array
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from camport.core.explainer import Explainer
from camport.core.maps.cancellation import warn_of_cancellation
from camport.core.maps.fusion import Fusion, over_layers
from camport.core.maps.loop import traced
from camport.core.probe import Probe
from camport.errors import InputError


@dataclass(frozen=True)
class ODAM(Explainer):
    r"""ODAM: the map of one instance, activations weighted place by place with smoothed gradients.

    .. math:: H = \mathrm{ReLU}\Big(\sum_k \Phi\Big(\frac{\partial Y}{\partial A_k}\Big) \odot
    A_k\Big)

    with Y what a detector says of one object (its class score, or an edge of its box) and
    :math:`\Phi` a local smoothing, here a Gaussian. Zhao and Chan 2023, ICLR, arXiv 2304.06354,
    section 3.1.

    Channels' mean gradients, as Grad-CAM's, cannot tell one object from another of the same class:
    the places where Y depends on A are what tells them apart. The width of the Gaussian is in cells
    of the layer; the code that the authors published smooths nothing, which is `sigma=0` and
    HiResCAM's map.

    Map: [b,h,w] of the layer, >= 0.
    Cost: `1` forward pass, and the backward pass behind the layer.

    Args:
        sigma: standard deviation of the Gaussian in cells, cut off at three of them; 0 leaves
            gradients as they are.
        fusion: how maps of several layers (the levels of a pyramid) are combined.
    """

    name: ClassVar[str] = "odam"
    title: ClassVar[str] = "ODAM"
    paper: ClassVar[str] = "2304.06354"
    family: ClassVar[str] = "activation"
    needs_gradients: ClassVar[bool] = True

    sigma: float = 1.0
    fusion: Fusion = "max"

    def __post_init__(self) -> None:
        if not 0 <= self.sigma <= 64:
            raise InputError(f"sigma is {self.sigma}; it is a number of cells, 0 to 64")

    def saliency(self, probe: Probe) -> Float[Tensor, "b h w"]:
        """relu(sum_k smooth(G_k) A_k)."""
        return over_layers(probe, lambda a, g: (self._smooth(g) * a).sum(1).relu(), self.fusion)

    def check(self, probe: Probe) -> None:
        """Warns where the products cancel over the channels, as before a layer normalisation."""
        warn_of_cancellation(self.name, probe, [self._smooth(g) for g in probe.gradients])

    def _smooth(self, g: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """A Gaussian that sums to one, along one axis and then the other;
        outside the map gradients are 0.

        In PyTorch by matrices, whose row i holds the Gaussian around i: up to three times as fast
        as convolving each channel. In a file by convolutions, which engines do three to five times
        as fast as matrices.
        """
        if not self.sigma:
            return g
        reach = math.ceil(3 * self.sigma)
        if traced():
            c = g.shape[1]
            away = torch.arange(-reach, reach + 1, dtype=g.dtype, device=g.device)
            weights = (away / self.sigma).square().mul(-0.5).exp()
            weights = weights / weights.sum()
            down = functional.conv2d(
                g, weights[:, None].expand(c, 1, -1, 1), padding=(reach, 0), groups=c
            )
            return functional.conv2d(
                down, weights.expand(c, 1, 1, -1), padding=(0, reach), groups=c
            )
        rows, columns = (
            torch.frombuffer(_around(n, self.sigma), dtype=torch.float64).view(n, n).to(g)
            for n in g.shape[-2:]
        )
        return rows @ g @ columns


@lru_cache(maxsize=32)
def _around(n: int, sigma: float) -> bytearray:
    """Row i of n holds the Gaussian around i: n times n float64, outside of any tensor mode."""
    reach = math.ceil(3 * sigma)
    away = [i / sigma for i in range(-reach, reach + 1)]
    weights = [math.exp(-0.5 * x * x) for x in away]
    whole = sum(weights)
    found = array("d", bytes(8 * n * n))
    for i in range(n):
        for j in range(max(0, i - reach), min(n, i + reach + 1)):
            found[i * n + j] = weights[j - i + reach] / whole
    return bytearray(found)
