"""FullGrad."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from camport.core.explainer import Explainer
from camport.core.heatmap import minmax, upsample
from camport.core.layers import recorded
from camport.core.probe import Probe
from camport.errors import MethodError


@dataclass(frozen=True)
class FullGrad(Explainer):
    r"""FullGrad: what the input and the biases of all layers contribute, each as a map.

    .. math:: S = \sum_c \psi\Big(\frac{\partial y^c}{\partial x} \odot x\Big)_c
                + \sum_{l} \sum_{k} \psi\Big(\frac{\partial y^c}{\partial a^l} \odot b^l\Big)_k, \quad
              \psi = \mathrm{up} \circ s \circ |\cdot|

    with a^l what layer l puts out, b^l its bias, and s the scaling of each map to [0,1]. Srinivas and Fleuret 2019,
    arXiv 1905.00780, eq. 3 and 6. The layers are the convolutions and the batch-norms, in every run, whose bias is beta
    - mean gamma / sqrt(var + eps); linear layers have no map.

    Preset "official", the authors' program, scales all channels of a layer together and upsamples with aligned corners.

    Map: [b,H,W] of the images, >= 0.
    Cost: `2` forward passes and a backward pass.

    Args:
        preset: "paper", or "official".
    """

    name: ClassVar[str] = "fullgrad"
    title: ClassVar[str] = "FullGrad"
    paper: ClassVar[str] = "1905.00780"
    family: ClassVar[str] = "input-gradient"
    needs_gradients: ClassVar[bool] = True
    needs_layer: ClassVar[bool] = False

    preset: Literal["paper", "official"] = "paper"

    def saliency(self, probe: Probe) -> Float[Tensor, "b H W"]:
        """The sum of psi over channels and layers."""
        modules = dict(probe.double.named_modules())
        with recorded(probe.double) as runs:
            total = self._psi(probe.input_gradient() * probe.images, probe)
        with_bias = {}
        for run in runs:
            bias = _bias(modules[run.name]) if len(run.shape) == 4 else None
            if bias is not None:
                with_bias[f"{run.name}@{run.call}"] = bias
        if with_bias:
            for bias, g in zip(with_bias.values(), probe.at(layers=list(with_bias)).gradients, strict=True):
                total = total + self._psi(g * bias.to(g.dtype)[:, None, None], probe)
        return total

    def check(self, probe: Probe) -> None:
        """MethodError where no layer has a bias that a map could show."""
        if not any(_bias(module) is not None for module in probe.double.modules()):
            raise MethodError(
                f"fullgrad needs convolutions or batch-norms with a bias; {type(probe.double).__name__} has none. "
                "integrated_gradients fits any model"
            )

    def _psi(self, part: Float[Tensor, "b c h w"], probe: Probe) -> Float[Tensor, "b H W"]:
        part, size = part.abs(), (probe.images.shape[-2], probe.images.shape[-1])
        # upsampling is linear, so channels are summed before it
        if self.preset == "paper":
            return upsample(minmax(part).sum(1), size)
        scaled = minmax(part.flatten(2)[:, None])[:, 0].unflatten(2, part.shape[2:])
        return F.interpolate(scaled.sum(1, keepdim=True), size=size, mode="bilinear", align_corners=True)[:, 0]


def _bias(module: nn.Module) -> Tensor | None:
    """What the layer adds to what is linear in its input, [c]."""
    if isinstance(module, nn.Conv2d):
        return module.bias
    if not isinstance(module, nn.BatchNorm2d) or module.running_mean is None or module.running_var is None:
        return None
    shift = -module.running_mean / torch.sqrt(module.running_var + module.eps)
    return shift if module.weight is None else shift * module.weight + module.bias
