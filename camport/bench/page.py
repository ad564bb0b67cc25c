"""The run as Markdown: a table a network and batch, a line a method, the engines side by side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from camport.bench.growth import Series
from camport.bench.plan import BARE, OWN
from camport.bench.record import Report

TITLES = {"eager": "PyTorch", "exported": "ONNX Runtime"}
EXPLAINED = """\
Each figure is a **ratio**: prediction and explanation together over the bare forward pass of the
same weights in the same engine (of other libraries: in PyTorch), {clock}. The two take turns in one
process, and the median over the rounds is shown, quartiles in brackets; *bare* is the control, a
bare pass against itself. Networks of torchvision and timm have random weights with awake batch-norm
statistics, those of `demo:` are as shipped; images are noise."""
MEMORY = """\
*MB* is the peak of a run beyond what the process held before, explanation / bare pass and their
ratio, each in a process of its own: in PyTorch of the second call, in ONNX Runtime of the first,
whose arena keeps what it took."""
CLOCKS = {"cpu": "process CPU time", "cuda": "wall time with the device synchronised"}


def page(report: Report, command: str, growth: Sequence[Series] = (), picture: str = "") -> str:
    """The whole page.

    Args:
        report: the run.
        command: that makes the page again.
        growth: series to be listed.
        picture: their plot, as the page links to it.
    """
    machine = report["machine_info"]
    rows = [
        benchmark["extra_info"] for benchmark in report["benchmarks"] if benchmark["extra_info"]
    ]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    measured = any("memory" in row for row in rows)
    parts = [
        "# What an explanation costs",
        (
            f"{report['datetime'][:10]}. {machine['device_line']}. Python"
            f" {machine['python_version']}, {versions}."
        ),
        EXPLAINED.format(clock=CLOCKS[machine["device"]]) + (f"\n{MEMORY}" if measured else ""),
        f"`{command}` makes this page.",
    ]
    groups: dict[str, list[dict[str, Any]]] = {}
    for benchmark in report["benchmarks"]:
        if benchmark["extra_info"]:
            groups.setdefault(benchmark["group"], []).append(benchmark["extra_info"])
    for group, members in groups.items():
        parts += [f"## {group}", _table(members, "wall" if machine["device"] == "cuda" else "cpu")]
    if report["left_out"]:
        parts += [
            "## Left out",
            "\n".join(f"- {entry}: {_line(why)}" for entry, why in report["left_out"].items()),
        ]
    if growth:
        parts += ["## Growth", _growth(growth)]
        parts += [f"![time against size, with the fitted power laws]({picture})"] if picture else []
    return "\n\n".join(parts) + "\n"


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; all columns but the first are numbers."""
    rule = [":---", *(["---:"] * (len(head) - 1))]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *rows))


def ratio(row: dict[str, Any] | None, clock: str) -> str:
    """With its quartiles; "-" where there is none."""
    if row is None or f"ratio_{clock}" not in row:
        return "-"
    low, high = row[f"ratio_{clock}_quartiles"]
    return f"{row[f'ratio_{clock}']:.2f} [{low:.2f}, {high:.2f}]"


def megabytes(row: dict[str, Any] | None) -> str:
    """Explanation over bare pass, and their ratio; "-" where they were not measured."""
    if row is None or "memory" not in row:
        return "-"
    bare, explained = row["memory"]["bare"], row["memory"]["explained"]
    times = f", {explained / bare:.2f}" if bare else ""
    return f"{explained / 1e6:.0f} / {bare / 1e6:.0f}{times}"


def _table(members: Sequence[dict[str, Any]], clock: str) -> str:
    found = {(row["method"], row["engine"]): row for row in members}
    engines = list(dict.fromkeys(row["engine"] for row in members))
    with_memory = [
        e for e in engines if any("memory" in row for row in members if row["engine"] == e)
    ]
    head = ["method"]
    for engine in engines:
        head += [f"{TITLES[engine]}, ms"] if engine in OWN else []
        head += [
            f"{TITLES.get(engine, engine)}, ratio",
            *([f"{TITLES.get(engine, engine)}, MB"] * (engine in with_memory)),
        ]
    rows = []
    for method in dict.fromkeys(row["method"] for row in members):
        line = [BARE if method == BARE else f"`{method}`"]
        for engine in engines:
            row = found.get((method, engine))
            line += [f"{row[f'{clock}_ms']:.1f}" if row else "-"] if engine in OWN else []
            line += [ratio(row, clock), *([megabytes(row)] * (engine in with_memory))]
        rows.append(line)
    return markdown(head, rows)


def _growth(series: Sequence[Series]) -> str:
    rows = []
    for s in series:
        law = s.power
        spent = f"{1e3 * s.seconds[0]:.1f} to {1e3 * s.seconds[-1]:.1f}"
        rows.append(
            (
                s.axis,
                s.name,
                f"{s.sizes[0]} to {s.sizes[-1]}",
                spent,
                f"{law.exponent:.2f} ± {law.error:.2f}",
            )
        )
    return markdown(
        ("what grows", "what is run", "from, to", "ms", "exponent, standard error"), rows
    )


def _line(text: str) -> str:
    return " ".join(text.split())
