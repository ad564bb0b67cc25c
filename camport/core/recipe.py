"""The tensors of one explanation, by one recipe for PyTorch and for the graphs that export
traces."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from camport.core.explainer import Explainer
from camport.core.maps.heatmap import minmax
from camport.core.probe import Probe
from camport.core.running.derivative import wide


@dataclass(frozen=True)
class Parts:
    """The tensors of one explanation.

    Attributes:
        raw: the method's map.
        heatmap: the same over the images, in [0, 1].
        outputs: the model's own.
        score: y^c.
        activations: of the target layers, where the method reads them.
        gradients: likewise.
    """

    raw: Float[Tensor, "b h w"]
    heatmap: Float[Tensor, "b H W"]
    outputs: Any
    score: Float[Tensor, " b"]
    activations: list[Tensor] | None
    gradients: list[Tensor] | None


def explained(
    explainer: Explainer, probe: Probe, check: Callable[[Tensor], None] | None = None
) -> Parts:
    """What a method tells of a probe: the map is computed, checked, placed on the images and
    scaled.

    Args:
        explainer: the method.
        probe: of the images and the target; its adapter is settled by its first pass.
        check: called with the raw map, eagerly alone: it looks at values.
    """
    raw = wide(explainer.saliency(probe).detach())
    if check:
        check(raw)
    adapter, images = probe.adapter, probe.images
    heatmap = minmax(adapter.lay(raw, (images.shape[-2], images.shape[-1]), probe.double))
    reads = probe.used if explainer.needs_layer else set()
    return Parts(
        raw=raw,
        heatmap=heatmap,
        outputs=adapter.said(probe.outputs),
        score=probe.y,
        activations=probe.activations if "activations" in reads else None,
        gradients=[g.detach() for g in probe.gradients] if "gradients" in reads else None,
    )
