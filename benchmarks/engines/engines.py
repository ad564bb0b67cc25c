"""The same exported files in every engine that is here:
`python -m benchmarks engines -o benchmarks/ENGINES.md`."""

import argparse
import contextlib
import datetime
import functools
import platform
import statistics
import sys
import tempfile
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

import torch

from benchmarks.engines.files import SUBJECTS, Exported
from benchmarks.engines.list import Engine, everything, machine
from benchmarks.engines.page import Page, check
from benchmarks.engines.web import AbsentError, Browser
from camport import cli
from camport.bench.machine import versions
from camport.bench.timing import Ratio
from camport.export.proof.parity import FACTOR, FLOOR
from camport.export.report import OutputParity

OUTPUTS = ("heatmap", "score", "gradients", "outputs")

METHOD = """\
Each network is exported once, and the same file gets the same images and targets in every engine: batches of {batches},
neither of which was traced, and in the batch of 3 one target is -1, the top class. A figure is the **relative l2
difference from PyTorch in float64**, the worse of both batches. *Eager* is PyTorch in float32 on the same inputs, the
worst of several draws with the images moved by half a unit in the last place. An engine agrees where it is within
max({factor:.0f} x eager, {floor:.0e}), as `camport export` requires of ONNX Runtime; what is beyond is **bold**. (A
bound on single values would be wrong: an activation near a kink of ReLU or max-pooling takes one side in one engine and
the other in the next.) Networks other than the demo's have random weights and awake batch-norm statistics.
"""
COST = """\
Each engine's own ratio: prediction and explanation over the bare network (plain `torch.onnx.export`) in that engine,
batch 1, one thread, both in turns, {rounds} rounds; the median, quartiles in brackets. The clock is the process's CPU
time; in the browser it is wall time. The engines ran beside other work on a shared machine: compare ratios, not
milliseconds.
"""
PAGE = """\
That of `camport web`, in the same browser: {inputs} pictures were brought to the network's input by its JavaScript
(stretch, crop, letterbox and one side; bilinear and bicubic; three channels and one); {unequal} of their {values}
values differ from Python's float32. Maps brought to the pictures' sizes differ by at most {enlarged:.0e}. {maps}
heatmaps of the demo's samples differ from those of `camport.runtime` by at most {heatmap:.0e} (relative l2), the scores
by {score:.0e}. The page says: "{said}".
"""


@dataclass
class Results:
    """What was measured."""

    files: list[str] = field(default_factory=list)
    engines: list[Engine] = field(default_factory=list)
    absent: dict[str, str] = field(default_factory=dict)
    parity: dict[tuple[str, str], dict[str, OutputParity]] = field(default_factory=dict)
    failed: dict[tuple[str, str], str] = field(default_factory=dict)
    cost: dict[tuple[str, str], tuple[Ratio, float]] = field(default_factory=dict)
    rounds: list[int] = field(default_factory=list)
    page: Page | None = None


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 1 where an engine failed or differs."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks engines", description=__doc__)
    parser.add_argument(
        "--files", nargs="+", default=["*"], help="networks or whole names, as patterns"
    )
    parser.add_argument(
        "--engines", nargs="+", default=["*"], help="names, as patterns: 'openvino' '*web'"
    )
    parser.add_argument(
        "--seconds", type=float, default=8, help="how long one cost is measured, roughly; 0: not"
    )
    parser.add_argument(
        "--keep", type=Path, help="a folder for the exported files; otherwise they are not kept"
    )
    parser.add_argument("--screenshot", type=Path, help="a picture of the page, as .png")
    parser.add_argument("-o", "--output", type=Path, help="the Markdown file; otherwise printed")
    given = parser.parse_args(arguments)
    for path in (given.output, given.screenshot, given.keep and given.keep / "x"):
        if path and not path.parent.is_dir():
            parser.error(f"the directory {path.parent} does not exist")
    torch.set_num_threads(1)
    with contextlib.ExitStack() as stack:
        folder = given.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        results = measure(given, folder.resolve(), stack)
    text = markdown(results)
    if given.output:
        given.output.write_text(text, encoding="utf-8")
    print(text)
    differs = any(not p.holds for found in results.parity.values() for p in found.values())
    return int(bool(results.failed) or differs or bool(results.page and results.page.unequal))


def measure(given: argparse.Namespace, folder: Path, stack: contextlib.ExitStack) -> Results:
    """Every file in every engine, file by file, so that one network is in memory at a time."""
    results = Results()
    exchange = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    browser = functools.cache(lambda: stack.enter_context(Browser(exchange)))
    for name, make in everything():
        if _chosen(given.engines, name):
            try:
                results.engines.append(make(browser))
            except AbsentError as reason:
                results.absent[name] = str(reason)
    for subject in SUBJECTS:
        if not _chosen(given.files, subject.network, str(subject)):
            continue
        _say(f"exporting {subject}")
        exported = Exported(subject, folder)
        results.files.append(str(subject))
        bare = exported.bare(folder) if subject.timed and given.seconds else None
        for engine in results.engines:
            if engine.takes(subject):
                _say(f"  {engine.name}")
                _try(results, engine, exported, bare, given.seconds)
        for file in exchange.iterdir():
            file.unlink()
    if any(engine.name == "onnxruntime-web" for engine in results.engines):
        file = folder / "page.onnx"
        cli.main(["export", "--model", "demo:digits", "--method", "gradcam", "-o", str(file)])
        results.page = check(browser(), file, given.screenshot)
    return results


def _try(
    results: Results, engine: Engine, exported: Exported, bare: Path | None, seconds: float
) -> None:
    key = (str(exported.subject), engine.name)
    try:
        results.parity[key] = exported.parity(engine.open(exported.file))
        if bare and engine.clock:
            once, explained = engine.race(bare, exported.file, exported.samples[0].feeds, seconds)
            results.cost[key] = (Ratio.of(explained, once), 1e3 * statistics.median(once))
            results.rounds.append(len(once))
    except Exception as error:  # every engine raises its own
        traceback.print_exc()
        results.failed[key] = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def markdown(results: Results) -> str:
    """The report."""
    found = ", ".join(
        f"{name} {version}" for name, version in versions().items() if name in ("camport", "torch")
    )
    parts = [
        "# The same file in every engine",
        (
            f"{datetime.date.today()}. {machine()}, one thread. Python {platform.python_version()},"
            f" {found}."
        ),
        METHOD.format(batches="1 and 3", factor=FACTOR, floor=FLOOR),
        "`python -m benchmarks engines -o benchmarks/ENGINES.md` makes this file.",
        _table(
            [
                ["engine", "version", "files", "agrees"],
                *(_line(results, e) for e in results.engines),
            ]
        ),
    ]
    notes = [f"- {engine.name}: {engine.how}." for engine in results.engines if engine.how]
    notes += [f"- {name} is not here: {how}." for name, how in results.absent.items()]
    notes += [
        f"- {engine} failed on {file}: {why}" for (file, engine), why in results.failed.items()
    ]
    parts.append("\n".join(notes))
    for output in OUTPUTS:
        table = _differences(results, output)
        if len(table) > 1:
            parts += [f"## {output}", _table(table)]
    if results.cost:
        rounds = sorted(results.rounds)
        parts += [
            "## What the explanation costs",
            COST.format(rounds=f"{rounds[0]} to {rounds[-1]}"),
        ]
        parts.append(_table(_costs(results)))
    if results.page:
        parts += ["## The page", PAGE.format(**vars(results.page))]
    return "\n\n".join(part.strip() for part in parts if part.strip()) + "\n"


def _line(results: Results, engine: Engine) -> list[str]:
    mine = [parity for (_, name), parity in results.parity.items() if name == engine.name]
    failed = sum(name == engine.name for _, name in results.failed)
    good = sum(all(p.holds for p in parity.values()) for parity in mine)
    return [engine.name, engine.version, str(len(mine) + failed), f"{good} of {len(mine) + failed}"]


def _differences(results: Results, output: str) -> list[list[str]]:
    table = [["file", "eager float32", *(engine.name for engine in results.engines)]]
    for file in results.files:
        cells = [
            results.parity.get((file, engine.name), {}).get(output) for engine in results.engines
        ]
        if any(cells):
            eager = max(cell.eager for cell in cells if cell)
            table.append([file, f"{eager:.0e}", *(_cell(cell) for cell in cells)])
    return table


def _cell(parity: OutputParity | None) -> str:
    if parity is None:
        return "-"
    return f"{parity.exported:.0e}" if parity.holds else f"**{parity.exported:.0e}**"


def _costs(results: Results) -> list[list[str]]:
    timed = [
        engine for engine in results.engines if any(name == engine.name for _, name in results.cost)
    ]
    table = [["file", *(f"{engine.name}, {engine.clock} time" for engine in timed)]]
    for file in dict.fromkeys(file for file, _ in results.cost):
        table.append([file, *(_ratio(results.cost.get((file, engine.name))) for engine in timed)])
    return table


def _ratio(cost: tuple[Ratio, float] | None) -> str:
    if cost is None:
        return "-"
    ratio, bare = cost
    return f"{ratio.median:.2f} [{ratio.low:.2f}, {ratio.high:.2f}], bare {bare:.1f} ms"


def _table(rows: list[list[str]]) -> str:
    head, *lines = rows
    rule = [":---" if i == 0 or head[0] == "engine" else "---:" for i in range(len(head))]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *lines))


def _chosen(patterns: Sequence[str], *names: str) -> bool:
    return any(
        fnmatch(name.lower(), f"*{pattern.lower()}*") for pattern in patterns for name in names
    )


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
