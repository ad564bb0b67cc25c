"""`camport methods | adapters | plugins | layers`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from camport.cli.loading import load
from camport.cli.options import Inputs, Model, Weights
from camport.errors import LayerError

if TYPE_CHECKING:
    from camport.core.describe import Description


def methods(name: Annotated[str | None, typer.Argument(help="One of them, in full.")] = None) -> None:
    """List the explainers, or tell all about one."""
    import camport
    from camport.core import registry
    from camport.core.describe import describe

    if name is not None:
        typer.echo(_page(describe(registry.explainer(name))))
        return
    rows = []
    for i in camport.methods().values():
        told = describe(registry.explainer(i.name))
        kind = ("signed" if told.signed else ">= 0") if told.map else "?"
        rows.append(
            (
                *(i.name, i.title, i.family, kind, _yes(i.needs_gradients), told.passes or "?"),
                *(_yes(i.exportable), i.paper, i.distribution),
            )
        )
    _table(("name", "method", "family", "map", "gradients", "passes", "exports", "paper", "from"), rows)


def _page(told: "Description") -> str:
    """A method in full, as plain text."""
    cls = told.cls
    parts = [f"{cls.title} ({cls.name})", told.summary, *(f"    {e}" for e in told.equations), *told.text]
    exports = "yes" if cls.exportable else f"no: {cls.not_exportable_because}"
    paper = told.link + (f", {told.places}" if told.places else "") if told.link else "none"
    facts = {
        "family": cls.family,
        "paper": paper,
        "deviations": told.deviations or "none",
        "map": told.map or "not said",
        "cost": told.cost or "not said",
        "gradients": "needed" if cls.needs_gradients else "not needed",
        "layer": "needed" if cls.needs_layer else "none",
        "exports": exports,
    }
    parts.append("\n".join(f"{key + ':':<12}{text}" for key, text in facts.items()))
    if told.options:
        parts.append("\n".join(["options:", *(f"  {o.name} = {o.default}: {o.text}" for o in told.options)]))
    return "\n\n".join(part.replace("\n", "\n    ") if part.startswith("    ") else part for part in parts)


def adapters() -> None:
    """List the adapters: the tasks a model may have."""
    import camport

    _table(("name", "explains", "from"), [(i.name, i.title, i.distribution) for i in camport.adapters().values()])


def plugins() -> None:
    """List the plugins, with what they add and what went wrong."""
    from camport.core import registry

    rows = [(p.name, f"{p.distribution} {p.version}", p.state, ", ".join(p.adds)) for p in registry.plugins()]
    _table(("plugin", "distribution", "state", "adds"), rows)


def layers(model: Model, weights: Weights = None, size: str | None = None, inputs: Inputs = None) -> None:
    """List a model's layers in the order they run, with the one that would be chosen."""
    import torch

    from camport.cli.export import _size
    from camport.core.calling import called
    from camport.core.layers import choose, record
    from camport.core.registry import adapter
    from camport.core.replica import double_of

    loaded = load(model, weights or "none", None, None, inputs=inputs)  # values do not matter here
    images = torch.zeros(1, loaded.preprocess.channels, *_size(size, loaded.preprocess))
    double = double_of(loaded.model)
    runs = record(double, lambda: called(adapter("classification")(), double, images, {}))
    try:
        chosen = loaded.layer or str(choose(runs))
    except LayerError:
        chosen = ""  # there are no maps over the image; the list shows what there is
    totals = {run.name: 0 for run in runs}
    for run in runs:
        totals[run.name] += 1
    rows = []
    for run in runs:
        name = run.name if totals[run.name] == 1 else f"{run.name}@{run.call}"
        rows.append((name, run.kind, "x".join(map(str, run.shape)), "chosen" if name == chosen else ""))
    _table(("layer", "kind", "output", ""), rows)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    console = Console()
    if not console.is_terminal:  # a file or a pipe: nothing may be cut off
        console = Console(width=10_000)
    table = Table(*heads, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _yes(value: bool) -> str:
    return "yes" if value else "no"
