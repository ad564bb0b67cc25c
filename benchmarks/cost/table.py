"""Runs the benchmarks and writes their ratios as Markdown:
`python -m benchmarks table -o benchmarks/RESULTS.md`."""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import camport
from benchmarks.kit.cases import CASES, OTHERS
from camport.bench.timing import LONG, WARM_UP

HERE = Path(__file__).parents[1]
ENGINES = {"torch": "PyTorch", "onnx": "ONNX Runtime"}
Row = dict[str, Any]

METHOD = """\
Each figure is a **ratio**: the time of prediction and explanation together over the time of the bare forward pass of
the same weights in the same engine, batch 1. The two take turns in one process (bare, explained, bare, explained, ...)
after {warm_up} warm-up runs each, one where a run takes {long:g} s or more. Every round gives a ratio; the median over
{rounds} rounds is shown, quartiles in brackets. Methods have their default options.

{clock}

- PyTorch and ONNX Runtime have the same number of threads ({threads}).
- PyTorch: the bare pass runs in `torch.inference_mode`; an explanation is a whole call of a bound method, checks of
  the input and the heatmap at the image's size included.
- ONNX Runtime: the bare graph is plain `torch.onnx.export`; both graphs have the same session options, opset and
  dynamic batch. The explained one returns all outputs of its file: prediction, score, heatmap, feature maps, gradients.
- Networks have random weights and awake batch-norm statistics at 224 x 224; the demo's network is as shipped, at
  128 x 128.
- The control, a bare pass against itself, shows the noise.
"""
CPU_CLOCK = """\
*CPU* is the time of all threads of the process: the work that was done. *Wall* is what a user waits for; it is the
noisier of the two, since other processes take their turns in it."""
CUDA_CLOCK = (
    "*Wall* time, synchronised with the device before and after each run; inputs and outputs stay"
    " on it."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; the exit status is pytest's."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks table", description=__doc__)
    parser.add_argument(
        "--models", nargs="+", default=["*"], help="networks, cases or ids; patterns"
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--seconds", type=float, default=6, help="how long one entry is measured, roughly"
    )
    parser.add_argument("--json", type=Path, help="keep pytest-benchmark's file here")
    parser.add_argument(
        "--from", dest="source", type=Path, help="write the table of such a file; run nothing"
    )
    parser.add_argument("-o", "--output", type=Path, help="the Markdown file; otherwise printed")
    given = parser.parse_args(arguments)
    if given.output and not given.output.parent.is_dir():
        parser.error(f"the directory {given.output.parent} does not exist")
    status = 0
    with tempfile.TemporaryDirectory() as folder:
        source = given.source or given.json or Path(folder) / "run.json"
        if not given.source:
            status = run(given, source)
        if not source.is_file() or not source.stat().st_size:
            parser.exit(status or 1, f"no figures: pytest ended with status {status}\n")
        text = markdown(json.loads(source.read_text(encoding="utf-8")))
    if given.output:
        given.output.write_text(text, encoding="utf-8")
    print(text)
    return status


def run(given: argparse.Namespace, target: Path) -> int:
    """Runs the benchmarks in a process of their own; its output shows the progress."""
    command = [sys.executable, "-m", "pytest", str(HERE), f"--benchmark-json={target.absolute()}"]
    command += [f"--models={','.join(given.models)}", f"--device={given.device}"]
    command += [f"--threads={given.threads}", f"--seconds={given.seconds}"]
    return subprocess.run(command, cwd=HERE.parent, check=False).returncode


def markdown(report: dict[str, Any]) -> str:
    """The tables of pytest-benchmark's report."""
    machine = report["machine_info"]
    rows = {
        _key(row): row for row in (entry["extra_info"] for entry in report["benchmarks"]) if row
    }
    clocks = ["wall"] if machine["device"] == "cuda" else ["cpu", "wall"]
    main_clock = clocks[0]
    counts = [row["rounds"] for row in rows.values()]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    parts = [
        "# What an explanation costs",
        (
            f"{report['datetime'][:10]}. {machine['device_line']}. Python"
            f" {machine['python_version']}, {versions}."
        ),
        METHOD.format(
            warm_up=WARM_UP,
            long=LONG,
            rounds=(
                f"{min(counts)} to {max(counts)}" if min(counts) < max(counts) else str(min(counts))
            ),
            clock=CUDA_CLOCK if machine["device"] == "cuda" else CPU_CLOCK,
            threads=machine["threads"],
        ),
        "`python -m benchmarks table -o benchmarks/RESULTS.md` makes this file.",
        *_section("## Grad-CAM", _gradcam(rows, clocks)),
        *_section(f"## Every method: ratio, {_clock(main_clock)}", _methods(rows, main_clock)),
        *_section("## Beside other libraries: Grad-CAM", _others(rows, clocks)),
        *_section("## Control: a bare pass against itself", _control(rows, clocks)),
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _gradcam(rows: dict[tuple[str, str, str], Row], clocks: list[str]) -> list[list[str]]:
    head = ["network, layer"]
    for engine in ENGINES.values():
        head += [f"{engine} bare, ms", *(f"{engine} ratio, {_clock(clock)}" for clock in clocks)]
    table = [head]
    for case in _cases(rows):
        line = [case]
        for engine in ENGINES:
            row = rows.get((case, engine, "gradcam"))
            line += [
                f"{row['bare_wall_ms']:.1f}" if row else "-",
                *(_ratio(row, clock) for clock in clocks),
            ]
        if any(cell != "-" for cell in line[1:]):
            table.append(line)
    return table


def _methods(rows: dict[tuple[str, str, str], Row], clock: str) -> list[list[str]]:
    """A line a method; the columns are networks in both engines."""
    names = {row["case"]: row["model"] for row in rows.values()}
    families = {case.name for case in CASES if case.families}
    sides = [(case, engine) for case in _cases(rows) if case in families for engine in ENGINES]
    table = [["method", *(f"{names[case]}, {ENGINES[engine]}" for case, engine in sides)]]
    for method in camport.methods():
        cells = [_short(rows.get((case, engine, method)), clock) for case, engine in sides]
        if any(cell != "-" for cell in cells):
            table.append([f"`{method}`", *cells])
    return table


def _others(rows: dict[tuple[str, str, str], Row], clocks: list[str]) -> list[list[str]]:
    table = [
        [
            "network, layer",
            "what",
            "ms",
            "bare, ms",
            *(f"ratio, {_clock(clock)}" for clock in clocks),
        ]
    ]
    for case in _cases(rows):
        if not any((case, "torch", other) in rows for other in OTHERS):
            continue
        lines = [("camport, exported", "onnx", "gradcam"), ("camport, PyTorch", "torch", "gradcam")]
        lines += [(f"{other}, PyTorch", "torch", other) for other in OTHERS]
        for name, engine, what in lines:
            row = rows.get((case, engine, what))
            if row:
                times = [f"{row['wall_ms']:.1f}", f"{row['bare_wall_ms']:.1f}"]
                table.append([case, name, *times, *(_ratio(row, clock) for clock in clocks)])
    return table


def _control(rows: dict[tuple[str, str, str], Row], clocks: list[str]) -> list[list[str]]:
    table = [
        [
            "network, layer",
            *(f"{name}, {_clock(clock)}" for name in ENGINES.values() for clock in clocks),
        ]
    ]
    for case in _cases(rows):
        cells = [
            _ratio(rows.get((case, engine, "bare")), clock)
            for engine in ENGINES
            for clock in clocks
        ]
        if any(cell != "-" for cell in cells):
            table.append([case, *cells])
    return table


def _key(row: Row) -> tuple[str, str, str]:
    return row["case"], row["engine"], row["what"]


def _cases(rows: Iterable[tuple[str, str, str]]) -> list[str]:
    seen = {case for case, _, _ in rows}
    return [case.name for case in CASES if case.name in seen]


def _clock(clock: str) -> str:
    return {"cpu": "CPU", "wall": "wall"}[clock]


def _short(row: Row | None, clock: str) -> str:
    return f"{row[f'ratio_{clock}']:.2f}" if row else "-"


def _ratio(row: Row | None, clock: str) -> str:
    if row is None:
        return "-"
    low, high = row[f"ratio_{clock}_quartiles"]
    return f"{_short(row, clock)} [{low:.2f}, {high:.2f}]"


def _section(title: str, table: list[list[str]]) -> list[str]:
    """Title and table; nothing where the table has no line."""
    if len(table) < 2:
        return []
    head, *lines = table
    rule = [":---" if i == 0 or cell[0].isalpha() else "---:" for i, cell in enumerate(lines[0])]
    return [title, "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *lines))]
