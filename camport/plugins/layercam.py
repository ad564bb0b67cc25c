"""LayerCAM."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from camport.core.explainer import Explainer
from camport.core.maps.fusion import at_finest
from camport.core.maps.heatmap import minmax
from camport.core.probe import Probe


@dataclass(frozen=True)
class LayerCAM(Explainer):
    r"""LayerCAM: every location weighted by its own positive gradient,
    so that shallow layers localise too.

    .. math:: M = \mathrm{ReLU}\Big(\sum_k \mathrm{ReLU}(G_k) \odot A_k\Big)

    and for several layers, each scaled, :math:`\hat M = \tanh(\gamma M / \max M)`, then the
    elementwise maximum. Jiang et al. 2021, IEEE TIP, doi 10.1109/TIP.2021.3089943, eq. 6, 7 and 9.

    Deviation: the paper scales the shallow layers; the deepest one of the list is divided by its
    maximum only, so that all are of one range.

    Map: [b,h,w] of the layer, >= 0.
    Cost: `1` forward pass, and the backward pass behind the layer.

    Args:
        gamma: the paper's scale factor.
        preset: "paper", or "torchcam", which scales all layers alike, from their minimum.
    """

    name: ClassVar[str] = "layercam"
    title: ClassVar[str] = "LayerCAM"
    paper: ClassVar[str] = "10.1109/TIP.2021.3089943"
    family: ClassVar[str] = "activation"
    needs_gradients: ClassVar[bool] = True

    gamma: float = 2.0
    preset: Literal["paper", "torchcam"] = "paper"

    def saliency(self, probe: Probe) -> Float[Tensor, "b h w"]:
        """relu(sum_k relu(G_k) A_k); of several layers, scaled, the maximum."""
        maps = [
            (g.relu() * a).sum(1).relu()
            for a, g in zip(probe.activations, probe.gradients, strict=True)
        ]
        if len(maps) == 1:
            return maps[0]
        areas = [m.shape[-2] * m.shape[-1] for m in maps]
        deepest = min(range(len(maps)), key=lambda i: (areas[i], -i))
        shallow = [self.preset == "torchcam" or i != deepest for i in range(len(maps))]
        scaled = [
            self._scaled(m) if s else _of_maximum(m) for m, s in zip(maps, shallow, strict=True)
        ]
        return torch.stack(at_finest(scaled)).amax(0)

    def _scaled(self, m: Float[Tensor, "b h w"]) -> Float[Tensor, "b h w"]:
        return torch.tanh(self.gamma * (minmax(m) if self.preset == "torchcam" else _of_maximum(m)))


def _of_maximum(m: Float[Tensor, "b h w"]) -> Float[Tensor, "b h w"]:
    highest = m.amax((1, 2), keepdim=True)
    return m / torch.where(highest > 0, highest, 1)
