"""What is fixed once, when a method first meets an image: how an adapter reads the outputs, and the target layers."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from camport.core.adapter import Adapter
from camport.core.calling import called, scored, without_graph
from camport.core.dependence import Observed, mark_dead, mark_leading, mark_still, observe
from camport.core.layers import LayerName, Run, named_run
from camport.core.outputs import echoes, mark_dense
from camport.errors import LayerError, ReusedLayerWarning

MOST = 16
"""Choices that turn out to be the output itself, or to have no gradient, before what is left is taken."""


@dataclass(frozen=True)
class Settled:
    """The adapter with everything fixed, the target layers, and the runs among which they were chosen.

    Attributes:
        adapter: settled.
        layers: the target layers; none where there is nothing to choose.
        runs: of one forward pass.
        refused: why nothing was chosen.
    """

    adapter: Adapter
    layers: list[LayerName]
    runs: list[Run]
    refused: LayerError | None = None


def settle(
    fresh: Callable[[], nn.Module], adapter: Adapter, image: Tensor, target: Mapping[str, Tensor], lists: bool
) -> Settled:
    """Chooses the target layers from passes on one image.

    Args:
        fresh: makes a private double of the model.
        adapter: not settled yet.
        image: [1,c,H,W].
        target: of this image, not resolved.
        lists: the target is whatever the adapter finds in the outputs.
    """
    seen = observe(fresh, lambda double, images: called(adapter, double, images, target), image)
    adapter = adapter.settled(fresh(), without_graph(seen.outputs))
    with torch.enable_grad():
        resolved, y = scored(adapter, seen.outputs, target, lists)
    mark_leading(seen, y)
    mark_dense(seen, without_graph(seen.outputs), lambda outputs: adapter.score(outputs, resolved), image)
    try:
        layers = _chosen(adapter, seen, y)
    except LayerError as error:
        return Settled(adapter, [], seen.runs, error)
    return Settled(adapter, layers, seen.runs)


def read(double: nn.Module, adapter: Adapter, image: Tensor, target: Mapping[str, Tensor]) -> Adapter:
    """The adapter with everything fixed that the model's outputs for one image tell."""
    with torch.no_grad():
        outputs = called(adapter, double, image.clone(), target)
    return adapter.settled(double, outputs)


def _chosen(adapter: Adapter, seen: Observed, y: Tensor) -> list[LayerName]:
    names = adapter.layers(seen.runs)
    for _ in range(MOST):
        chosen = [run for name in names if (run := named_run(seen.runs, name))]
        repeated = [run for run in chosen if echoes(seen, run)]
        for run in seen.runs:
            run.dense = run.dense or run.output in {other.output for other in repeated}
        if not (mark_still(seen, chosen) or repeated or mark_dead(seen, y, chosen)):
            break
        before, names = names, adapter.layers(seen.runs)
        if names == before:
            break  # a rule of the adapter's own
    return names


def warn_of_others(runs: Sequence[Run], layers: Sequence[LayerName]) -> None:
    """Warns where a chosen module runs several times on the image, and the score depends on each run."""
    for layer in layers:
        run = named_run(runs, layer)
        calls = [other.call for other in runs if other.name == layer.module and other.fits]
        if run is not None and not run.whole and len(calls) > 1:
            shown = ", ".join(f"layer='{layer.module}@{call}'" for call in calls)
            warnings.warn(
                f"layer '{layer}' was chosen, one of {len(calls)} runs of this module that are made of the image; the "
                f"score depends on each of them, and the map tells of one. Choose with {shown}",
                ReusedLayerWarning,
                stacklevel=7,
            )
