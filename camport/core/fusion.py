"""One map from several layers. Maps are fused un-normalised: only then does a layer without evidence add nothing."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from camport.core.heatmap import upsample

if TYPE_CHECKING:
    from camport.core.probe import Probe

Fusion = Literal["max", "mean", "sum"]
"""How maps of several layers become one: elementwise maximum, mean or sum, at the finest layer's resolution."""


def over_layers(
    probe: "Probe",
    layer_map: Callable[[Float[Tensor, "b c h w"], Float[Tensor, "b c h w"]], Float[Tensor, "b h w"]],
    fusion: Fusion = "max",
) -> Float[Tensor, "b h w"]:
    """`layer_map(activations, gradients)` at each target layer, fused."""
    return fuse([layer_map(a, g) for a, g in zip(probe.activations, probe.gradients, strict=True)], fusion)


def fuse(maps: list[Tensor], fusion: Fusion = "max") -> Float[Tensor, "b h w"]:
    """Maps [b,h_i,w_i] resampled to the finest resolution and combined."""
    if len(maps) == 1:
        return maps[0]
    stack = torch.stack(at_finest(maps))
    if fusion == "max":
        return stack.amax(0)
    return stack.mean(0) if fusion == "mean" else stack.sum(0)


def at_finest(maps: list[Tensor]) -> list[Tensor]:
    """Maps [b,h_i,w_i], each resampled bilinearly to the largest (h, w) among them."""
    h, w = max((m.shape[-2:] for m in maps), key=lambda size: size[0] * size[1])
    return [upsample(m, (h, w)) for m in maps]
