"""What is fixed once, when a method first meets an image: how an adapter reads the outputs, and the
target layers."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from camport.core.running.call_model import called, scored, without_graph
from camport.core.running.dense_outputs import echoes, is_explained, mark_dense
from camport.core.running.dependence import Observed, mark_dead, mark_leading, mark_still, observe
from camport.core.running.layers import LayerName, named_run
from camport.core.running.placing import Placing
from camport.core.running.reading import Readings
from camport.core.running.runs import Run
from camport.errors import LayerError, ReusedLayerWarning

if TYPE_CHECKING:
    from camport.core.adapter import Adapter

MOST = 16
"""Choices that turn out to be the output itself, or to have no gradient, before what is left is
taken."""


@dataclass(frozen=True)
class Settled:
    """The adapter with everything fixed, the target layers, and the runs among which they were
    chosen.

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
    fresh: Callable[[], nn.Module],
    adapter: Adapter,
    image: Tensor,
    target: Mapping[str, Tensor],
    lists: bool,
    readings: Readings,
    alone: bool,
) -> Settled:
    """Chooses the target layers from passes on one image.

    Args:
        fresh: makes a private double of the model.
        adapter: not settled yet.
        image: [1,c,H,W].
        target: of this image, not resolved.
        lists: the target is whatever the adapter finds in the outputs.
        readings: keeps how the chosen layers lie on the image.
        alone: there is no other image, which might lie otherwise.
    """
    placings: list[Placing] = []

    def call(double: nn.Module, images: Tensor) -> Any:
        with Placing(images) if not placings else nullcontext() as placing:
            placings.extend([placing] if placing else [])
            return called(asked, double, images, target)

    asked = adapter
    seen = observe(fresh, call, image)
    double = fresh()
    adapter = adapter.settled(double, without_graph(seen.outputs))
    with torch.enable_grad():
        resolved, y = scored(adapter, seen.outputs, target, lists)
    mark_leading(seen, y)
    score, size = (
        lambda outputs: adapter.score(outputs, resolved),
        (image.shape[-2], image.shape[-1]),
    )
    mark_dense(seen, without_graph(seen.outputs), score, image)

    def check(name: LayerName, run: Run) -> None:
        # what the run put out may be written into since
        output = image.new_zeros(()).expand(run.shape)
        tensors = [
            tensor for other, tensor in zip(seen.runs, seen.tensors, strict=False) if other is run
        ]
        if any(is_explained(seen.outputs, score, tensor) for tensor in tensors):
            # a caption's words, say, of which no pass is made to see whether a line of them follows
            # the image
            adapter.grid(
                output,
                adapter.frame(size, double),
                double,
                double.get_submodule(name.module),
                str(name),
            )
        # none where no gradient was recorded
        origins = [placings[0].of(tensor) for tensor in tensors] or None
        followed = alone and not placings[0].decides
        readings.of(
            [name],
            [output],
            image,
            target,
            adapter,
            double,
            known=False,
            origins=origins,
            followed=followed,
        )

    try:
        layers = _readable(adapter, seen, y, check)
    except LayerError as error:
        return Settled(adapter, [], seen.runs, error)
    return Settled(adapter, layers, seen.runs)


def read(
    double: nn.Module, adapter: Adapter, image: Tensor, target: Mapping[str, Tensor]
) -> Adapter:
    """The adapter with everything fixed that the model's outputs for one image tell."""
    with torch.no_grad():
        outputs = called(adapter, double, image.clone(), target)
    return adapter.settled(double, outputs)


def _readable(
    adapter: Adapter, seen: Observed, y: Tensor, check: Callable[[LayerName, Run], None]
) -> list[LayerName]:
    """The best layers of those of which it is told how they lie on the image: `check` raises
    LayerError of others."""
    refused: dict[str, LayerError] = {}
    while True:
        try:
            names = _chosen(adapter, seen, y)
        except LayerError as error:
            if not refused:
                raise
            raise _unreadable(refused) from error
        for name in names:
            run = named_run(seen.runs, name)
            if run is None:
                continue
            try:
                check(name, run)
            except LayerError as error:
                # a rule of the adapter's own, or no end to be seen
                if str(name) in refused or len(refused) == MOST:
                    raise _unreadable({**refused, str(name): error}) from error
                refused[str(name)] = error
                _mark_unreadable(seen.runs, run)
                break
        else:
            return names


def _mark_unreadable(runs: Sequence[Run], refused: Run) -> None:
    """Marks the runs with a refused one's tensor, and those before it with as many tokens: they are
    in one order."""
    before = True
    for run in runs:
        tokens = (
            len(refused.shape) == 3 and len(run.shape) == 3 and run.shape[1] == refused.shape[1]
        )
        if run.output == refused.output or (before and tokens):
            run.lies = False
        before = before and run is not refused


def _unreadable(refused: Mapping[str, LayerError]) -> LayerError:
    error = next(iter(refused.values()))
    if len(refused) == 1:
        return error
    return LayerError(
        f"no layer could be chosen; {len(refused)} were looked at"
        f" ({', '.join(map(repr, refused))}), and of none is it told how it lies on the image; name"
        " one with layer=..., or use a method that needs none (saliency, rise). The best of them:"
        f" {error}"
    )


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
    """Warns where a chosen module runs several times on the image, and the score depends on each
    run."""
    for layer in layers:
        run = named_run(runs, layer)
        calls = [other.call for other in runs if other.name == layer.module and other.fits]
        if run is not None and not run.whole and len(calls) > 1:
            shown = ", ".join(f"layer='{layer.module}@{call}'" for call in calls)
            warnings.warn(
                f"layer '{layer}' was chosen, one of {len(calls)} runs of this module that are made"
                " of the image; the score depends on each of them, and the map tells of one."
                f" Choose with {shown}",
                ReusedLayerWarning,
                stacklevel=7,
            )
