"""FullGrad."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from camport.core.explainer import Explainer
from camport.core.maps.heatmap import minmax, upsample
from camport.core.probe import Probe
from camport.core.running.runs import Run, recorded
from camport.errors import MethodError


@dataclass(frozen=True)
class FullGrad(Explainer):
    r"""FullGrad: what the input and the biases of all layers contribute, each as a map.

    .. math:: S = \sum_c \psi\Big(\frac{\partial y^c}{\partial x} \odot x\Big)_c
                + \sum_{l} \sum_{k} \psi\Big(\frac{\partial y^c}{\partial a^l} \odot b^l\Big)_k,
                \quad
              \psi = \mathrm{up} \circ s \circ |\cdot|

    with a^l what layer l puts out, b^l its bias, and s the scaling of each map to [0,1]. Srinivas
    and Fleuret 2019, arXiv 1905.00780, eq. 3 and 6. The layers are the convolutions, transposed
    ones too, and the batch, group, instance and layer norms that put out maps, in every run. The
    bias of a batch norm is beta - mean gamma / sqrt(var + eps), of norms that measure each image it
    is beta.

    Deviations: linear layers, what puts out tokens, and convolutions called as functions have no
    map. The sum of all terms is the score where the network is piecewise linear; behind norms that
    measure each image it is not.

    Preset "official", the authors' program, scales all channels of a layer together and upsamples
    with aligned corners.

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
        for index, run in enumerate(runs):
            bias = _bias(modules[run.name]) if len(run.shape) == 4 else None
            if bias is not None:
                before = _before_activation(runs, index, modules)
                with_bias[f"{before.name}@{before.call}"] = bias
        if with_bias:
            seen = probe.at(layers=list(with_bias))
            seen.evaluation.zeros = True  # a layer whose output nothing uses adds nothing
            for bias, g in zip(with_bias.values(), seen.gradients, strict=True):
                part = g * (bias if bias.dim() == 3 else bias[:, None, None]).to(g.dtype)
                total = total + self._psi(part, probe)
        return total

    def check(self, probe: Probe) -> None:
        """MethodError where no layer has a bias that a map could show."""
        if not any(_bias(module) is not None for module in probe.double.modules()):
            raise MethodError(
                f"fullgrad needs convolutions or norms with a bias; {type(probe.double).__name__}"
                " has none. integrated_gradients fits any model"
            )

    def _psi(self, part: Float[Tensor, "b c h w"], probe: Probe) -> Float[Tensor, "b H W"]:
        part, size = part.abs(), (probe.images.shape[-2], probe.images.shape[-1])
        # upsampling is linear, so channels are summed before it
        if self.preset == "paper":
            return upsample(minmax(part).sum(1), size)
        scaled = minmax(part.flatten(2)[:, None])[:, 0].unflatten(2, part.shape[2:])
        return F.interpolate(
            scaled.sum(1, keepdim=True), size=size, mode="bilinear", align_corners=True
        )[:, 0]


NORMS = (nn.GroupNorm, nn.LayerNorm, nn.InstanceNorm2d)
"""They measure each image, so that what they add is their beta alone."""


def _bias(module: nn.Module) -> Tensor | None:
    """What the layer adds to its maps, [c]; [c,h,w] of a layer norm over all axes."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        return module.bias
    mean, var = getattr(module, "running_mean", None), getattr(module, "running_var", None)
    # batch norms of any class, frozen ones too;
    # an instance norm that keeps statistics is one in evaluation mode
    if isinstance(mean, Tensor) and isinstance(var, Tensor) and hasattr(module, "eps"):
        norm: Any = module
        shift = -mean / torch.sqrt(var + norm.eps)
        return shift if norm.weight is None else shift * norm.weight + norm.bias
    return module.bias if isinstance(module, NORMS) else None


def _before_activation(runs: Sequence[Run], index: int, modules: Mapping[str, nn.Module]) -> Run:
    """The run that puts out what the layer does before an activation inside it,
    as timm's norms have one."""
    run = runs[index]
    inner = runs[run.start] if run.start < index else None
    return inner if inner is not None and type(modules[inner.name]) is nn.Identity else run
