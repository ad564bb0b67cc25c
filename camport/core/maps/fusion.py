"""One map from several layers.

By default maps are fused un-normalised: only then does a layer without evidence, of a detector's
pyramid say, add nothing.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from camport.core.maps.heatmap import minmax, upsample
from camport.errors import InputError

if TYPE_CHECKING:
    from camport.core.probe import Probe

Fusion = Literal["max", "mean", "sum", "normalised max", "normalised mean", "normalised product"]
"""How maps of several layers become one: elementwise, at the finest layer's resolution.

"max", "mean" and "sum" are of the maps as they are. Maps of a trained network grow with depth by
orders of magnitude, so that the maximum is mostly the deepest layer's map alone. "normalised"
scales each map of an image to [0,1] before it is resampled: "normalised mean" is how grad-cam
combines layers, "normalised product" keeps what all layers show.
"""


def over_layers(
    probe: "Probe",
    layer_map: Callable[
        [Float[Tensor, "b c h w"], Float[Tensor, "b c h w"]], Float[Tensor, "b h w"]
    ],
    fusion: Fusion = "max",
) -> Float[Tensor, "b h w"]:
    """`layer_map(activations, gradients)` at each target layer, fused."""
    return fuse(
        [layer_map(a, g) for a, g in zip(probe.activations, probe.gradients, strict=True)], fusion
    )


def fuse(maps: list[Tensor], fusion: Fusion = "max") -> Float[Tensor, "b h w"]:
    """Maps [b,h_i,w_i] resampled to the finest resolution and combined;
    InputError for another word than `Fusion`'s."""
    if fusion not in get_args(Fusion):
        raise InputError(
            f"fusion is {fusion!r}; it is one of {', '.join(map(repr, get_args(Fusion)))}"
        )
    if len(maps) == 1:
        return maps[0]
    form = fusion.removeprefix("normalised ")
    stack = torch.stack(at_finest(maps if form == fusion else [minmax(m) for m in maps]))
    if form == "max":
        return stack.amax(0)
    if form == "product":
        return stack.prod(0)
    return stack.mean(0) if form == "mean" else stack.sum(0)


def at_finest(maps: list[Tensor]) -> list[Tensor]:
    """Maps [b,h_i,w_i], each resampled bilinearly to the largest (h, w) among them."""
    h, w = max((m.shape[-2:] for m in maps), key=lambda size: size[0] * size[1])
    return [upsample(m, (h, w)) for m in maps]
