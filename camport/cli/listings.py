"""`camport methods | adapters | metrics | plugins`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from camport.cli.printing import printable, say

if TYPE_CHECKING:
    from camport.core.describe import Description


def methods(name: Annotated[str | None, typer.Argument(help="One of them, in full.")] = None) -> None:
    """List the explainers, or tell all about one."""
    import camport
    from camport.core import registry
    from camport.core.describe import describe

    if name is not None:
        say(*_page(describe(registry.explainer(name))).splitlines())
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
    table(("name", "method", "family", "map", "gradients", "passes", "exports", "paper", "from"), rows)


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

    rows = [
        (i.name, i.title, ", ".join(f"{f.name} ({f.kind})" for f in i.fields) or "-", i.distribution)
        for i in camport.adapters().values()
    ]
    table(("name", "explains", "--target NAME=", "from"), rows)


def metrics() -> None:
    """List the metrics: what each needs, and whether higher or lower is better."""
    import camport

    rows = [
        (i.name, i.title, ", ".join(i.needs) or "-", i.better, _range(*i.range), i.paper, i.distribution)
        for i in camport.metrics().values()
    ]
    table(("name", "metric", "needs", "better", "range", "paper", "from"), rows)


def plugins() -> None:
    """List the plugins, with what they add and what went wrong."""
    from camport.core import registry

    rows = [(p.name, f"{p.distribution} {p.version}", p.state, ", ".join(p.adds)) for p in registry.plugins()]
    table(("plugin", "distribution", "state", "adds"), rows)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints a table; beside a terminal no column is cut off."""
    console = Console()
    if not console.is_terminal:  # a file or a pipe: nothing may be cut off
        console = Console(width=10_000)
    drawn = Table(*heads, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        drawn.add_row(*(Text(printable(cell)) for cell in row))  # a Text has no markup
    console.print(drawn)


def _range(low: float, high: float) -> str:
    """An interval, open where it has no end."""
    start = f"({low:g}" if low == float("-inf") else f"[{low:g}"
    return f"{start},{high:g}{')' if high == float('inf') else ']'}"


def _yes(value: bool) -> str:
    return "yes" if value else "no"
