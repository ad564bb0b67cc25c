"""The score as a function of what a layer puts out: the model behind it,
for many variants of its maps."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from camport.core.maps.loop import repeat, traced
from camport.core.running.call_model import called
from camport.core.running.derivative import wide
from camport.core.running.layers import LayerName
from camport.core.running.tail import Tail

if TYPE_CHECKING:
    from camport.core.probe import Probe


def behind(probe: Probe, layer: LayerName) -> Callable[[Tensor], Tensor]:
    """A function from maps [m,b,c,h,w] that the probe's one layer puts out to the scores [m,b].

    Args:
        probe: was run.
        layer: its layer, with the number of the run.
    """
    seen = probe.evaluation
    native, grid = seen.rows_of(seen.native[0]), seen.grids[0]
    # eagerly image by image: what bypasses the layer need not have the batch on its first axis
    parts = [slice(None)] if traced() else [slice(i, i + 1) for i in range(probe.images.shape[0])]
    ask, given = partial(called, probe.adapter), probe.target
    tails = [
        Tail(probe.double, layer, ask, probe.images[p], {k: v[p] for k, v in given.items()})
        for p in parts
    ]

    def scores(activations: Tensor) -> Tensor:
        m = activations.shape[0]
        target, found = seen.repeated(m), []
        for rows, run in zip(parts, tails, strict=True):
            maps = activations[:, rows].flatten(0, 1).to(native.dtype)
            inner = grid.from_maps(maps, repeat(native[rows], m))
            wanted = {k: v.unflatten(0, (m, -1))[:, rows].flatten(0, 1) for k, v in target.items()}
            with torch.no_grad():
                found.append(wide(probe.adapter.score(run(inner, m), wanted)).unflatten(0, (m, -1)))
        return torch.cat(found, 1)

    return scores
