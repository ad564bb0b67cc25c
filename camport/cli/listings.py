"""`camport methods | adapters | metrics | plugins`."""

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from camport.cli.printing import printable, say, say_json

if TYPE_CHECKING:
    from camport.core.describe import Description


Json = Annotated[bool, typer.Option("--json", help="Print as JSON.")]


def methods(
    name: Annotated[str | None, typer.Argument(help="One of them, in full.")] = None,
    as_json: Json = False,
) -> None:
    """List the explainers, or tell all about one."""
    import camport
    from camport.core import registry
    from camport.core.describe import describe

    if name is not None:
        told = describe(registry.explainer(name))
        if as_json:
            say_json(_facts(told))
        else:
            say(*_page(told).splitlines())
        return
    if as_json:
        say_json([_facts(describe(registry.explainer(one))) for one in camport.methods()])
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
    table(
        ("name", "method", "family", "map", "gradients", "passes", "exports", "paper", "from"),
        rows,
        wide=("family", "paper", "from"),
    )


def _facts(told: "Description") -> dict[str, Any]:
    """A method as JSON."""
    cls = told.cls
    return {
        **{
            key: getattr(cls, key)
            for key in ("name", "title", "family", "paper", "needs_gradients", "needs_layer")
        },
        "exportable": cls.exportable,
        "not_exportable_because": "" if cls.exportable else cls.not_exportable_because,
        "passes": told.passes,
        **{
            key: getattr(told, key)
            for key in ("signed", "summary", "equations", "deviations", "map", "cost", "link")
        },
        "options": [asdict(option) for option in told.options],
    }


def _page(told: "Description") -> str:
    """A method in full, as plain text."""
    cls = told.cls
    parts = [
        f"{cls.title} ({cls.name})",
        told.summary,
        *(f"    {e}" for e in told.equations),
        *told.text,
    ]
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
        options = (f"  {o.name} = {o.default}" + f": {o.text}" * bool(o.text) for o in told.options)
        parts.append("\n".join(["options:", *options]))
    page = "\n\n".join(
        part.replace("\n", "\n    ") if part.startswith("    ") else part for part in parts
    )
    return re.sub(r"(`+)(.+?)\1", r"\2", page)  # the docstring's marks of code


def adapters(as_json: Json = False) -> None:
    """List the adapters: the tasks a model may have."""
    import camport

    if as_json:
        say_json([asdict(info) for info in camport.adapters().values()])
        return
    rows = [
        (
            i.name,
            i.title,
            ", ".join(f"{f.name} ({f.kind})" for f in i.fields) or "-",
            i.distribution,
        )
        for i in camport.adapters().values()
    ]
    table(("name", "explains", "--target NAME=", "from"), rows, wide=("from",))


def metrics(as_json: Json = False) -> None:
    """List the metrics: what each needs, and whether higher or lower is better."""
    import camport

    if as_json:
        say_json([asdict(info) for info in camport.metrics().values()])
        return
    rows = [
        (
            i.name,
            i.title,
            ", ".join(i.needs) or "-",
            i.better,
            _range(*i.range),
            i.paper,
            i.distribution,
        )
        for i in camport.metrics().values()
    ]
    heads = ("name", "metric", "needs", "better", "range", "paper", "from")
    table(heads, rows, wide=("paper", "from"))


def plugins(as_json: Json = False) -> None:
    """List the plugins, with what they add and what went wrong."""
    from camport.core import registry

    if as_json:
        say_json([asdict(info) for info in registry.plugins()])
        return
    terminal = Console().is_terminal
    rows = []
    for p in registry.plugins():
        few = not terminal or len(p.adds) <= FEW
        adds = ", ".join(p.adds) if few else _counted(registry.kinds_of(p.name))
        rows.append((p.name, f"{p.distribution} {p.version}", p.state, adds))
    table(("plugin", "distribution", "state", "adds"), rows)


FEW = 3
"""So many names a plugin adds are shown on a terminal, and of more their number."""


def _counted(kinds: Sequence[str]) -> str:
    """Kinds with their numbers: "36 methods, 1 metric"."""
    plural = {"model family": "model families"}
    return ", ".join(
        f"{count} {plural.get(kind, kind + 's') if count > 1 else kind}"
        for kind, count in Counter(kinds).items()
    )


WIDE = 140
"""Columns of a terminal from which on a table has all of its own."""


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], wide: Collection[str] = ()) -> None:
    """Prints a table. On a terminal too narrow for it text is broken between words, but for the
    first column, which holds the names that one types.

    Args:
        heads: of the columns.
        rows: a text for each.
        wide: columns that a terminal of less than `WIDE` leaves out; `--json` has them.
    """
    console = Console()
    if not console.is_terminal:  # a file or a pipe: nothing may be cut off
        console = Console(width=10_000)
    shown = [i for i, head in enumerate(heads) if head not in wide or console.width >= WIDE]
    columns = [[heads[i], *(printable(row[i]) for row in rows)] for i in shown]
    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for n, (column, width) in enumerate(zip(columns, _widths(columns, console.width), strict=True)):
        drawn.add_column(column[0], no_wrap=n == 0, overflow="fold", width=width)
    for cells in list(zip(*columns, strict=True))[1:]:
        drawn.add_row(*map(Text, cells))  # a Text has no markup
    console.print(drawn)


GAP = 2
"""Columns between two of a table's."""


def _widths(columns: Sequence[Sequence[str]], width: int) -> list[int | None]:
    """Widths at which no head and no word is broken, the rest of the room dealt out evenly; left to
    rich where there is room for all of it, or not even for the words."""
    wanted = [max(map(cell_len, column)) for column in columns]
    words = [[head, *(word for cell in cells for word in cell.split())] for head, *cells in columns]
    needed = [wanted[0], *(max(map(cell_len, own)) for own in words[1:])]
    rest = width - GAP * (len(columns) - 1) - sum(needed)
    if rest < 0 or rest >= sum(wanted) - sum(needed):
        return [None] * len(columns)
    while rest > 0:
        for i in range(len(columns)):
            more = min(rest, 1, wanted[i] - needed[i])
            needed[i], rest = needed[i] + more, rest - more
    return list(needed)


def _range(low: float, high: float) -> str:
    """An interval, open where it has no end."""
    start = f"({low:g}" if low == float("-inf") else f"[{low:g}"
    return f"{start},{high:g}{')' if high == float('inf') else ']'}"


def _yes(value: bool) -> str:
    return "yes" if value else "no"
