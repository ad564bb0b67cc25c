"""`camport layers`: what runs in a model, and the layers that `camport explain` would take."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from camport.cli import tracing
from camport.cli.export import _size
from camport.cli.given import DECLARED, Given, adapter_of, declared
from camport.cli.listings import Json, table
from camport.cli.loading import load
from camport.cli.options import Adapter, Inputs, Model, Preprocessing, Trust, Weights
from camport.cli.printing import say, say_json
from camport.errors import InputError
from camport.targets.task import described

if TYPE_CHECKING:
    from torch import Tensor

    from camport.core.bound import Bound
    from camport.core.running.settling import Settled


@declared
def layers(
    model: Model,
    weights: Weights = None,
    adapter: Adapter = None,
    preprocess: Preprocessing = None,
    size: Annotated[
        str | None,
        typer.Option(metavar="HxW", help="Image size to run with, where the model names none."),
    ] = None,
    given: Given = DECLARED,
    trust_checkpoint: Trust = False,
    inputs: Inputs = None,
    as_json: Json = False,
) -> None:
    """List a model's layers in the order they run, with those that `camport explain` would choose.

    Weights that have to be downloaded are random here, unless a file is named: the choice depends
    on how the network is made.
    """
    loaded = load(model, weights or "none", None, preprocess, trust_checkpoint, inputs)
    import torch

    import camport
    from camport.core.running.layers import named_run

    spec = dataclasses.replace(
        loaded.preprocess, size=_size(size, loaded.preprocess), stride=None, side=None
    )
    picture = tracing.with_channels(tracing.pictures([])[0], spec.channels)
    pixels, _ = spec.apply(picture)
    task = adapter_of(adapter or loaded.adapter, given)
    bound = camport.bind(loaded.model, None, loaded.layer, task)
    found = _settled(bound, torch.from_numpy(pixels)[None])
    chosen = [id(named_run(found.runs, layer)) for layer in found.layers]
    totals = Counter(run.name for run in found.runs)
    rows = []
    for run in found.runs:
        name = run.name if totals[run.name] == 1 else f"{run.name}@{run.call}"
        rows.append((name, run.kind, run.shape, id(run) in chosen))
    if as_json:
        say_json(
            [dict(zip(("layer", "kind", "output", "chosen"), row, strict=True)) for row in rows]
        )
        return
    shown = [
        (name, kind, "x".join(map(str, shape)), "chosen" if taken else "")
        for name, kind, shape, taken in rows
    ]
    table(("layer", "kind", "output", ""), shown)
    if found.refused is not None:
        say(f"camport: note: {found.refused}", err=True)


def _settled(bound: Bound, images: Tensor) -> Settled:
    """As without a target; of the whole picture where the network finds nothing in it."""
    task = described(bound.adapter.name)
    try:
        return bound.settled(images, images if task.alike else task.example)
    except InputError:
        if task.whole is None:
            raise
        return bound.settled(images, task.whole(*images.shape[-2:]))
