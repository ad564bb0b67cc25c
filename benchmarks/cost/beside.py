"""The exported Grad-CAM beside other libraries' in PyTorch:
`python -m benchmarks beside -o benchmarks/BESIDE.md`.

The bare file takes its turn too: what it alone takes is the floor of what any exported explanation
can.
"""

import argparse
import datetime
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.kit.cases import CASES, OTHERS, Case, Entry
from benchmarks.kit.sides import Sides
from camport.bench.machine import versions

AIMS = {"resnet50": 0.45, "mobilenet_v3_large": 0.25}

HEAD = """\
# The exported Grad-CAM beside other libraries' in PyTorch

{date}. {versions}.

`python -m benchmarks beside` runs all of a network in turns, one image of 224 x 224, one thread; medians over {rounds}
rounds of the CPU times' ratio. **file**: camport's Grad-CAM, exported, in ONNX Runtime. **bare file**: the prediction
alone, by plain `torch.onnx.export`. The file does all that the bare file does, so where the bare file takes the share
b of another library's time, no file that explains can take less: what remains of the aim is (aim - b).
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks beside", description=__doc__)
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("-o", "--output", type=Path, help="a Markdown file; printed otherwise")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    lines = [
        (
            "| network | other library | aim | file over it | bare file over it | file over bare"
            " file |"
        ),
        "| :--- | :--- | ---: | ---: | ---: | ---: |",
    ]
    with tempfile.TemporaryDirectory() as folder:
        for case in (case for case in CASES if case.others):
            taken = _taken(Sides(Path(folder), "cpu", 1), case, given.rounds)
            for other in OTHERS:
                aim = f"{AIMS[case.model]:.2f}" if other == "torchcam" else "-"
                ratios = (
                    _ratio(taken, *p)
                    for p in (("file", other), ("bare file", other), ("file", "bare file"))
                )
                lines.append(f"| {case.model} | {other} | {aim} | {' | '.join(ratios)} |")
                print(lines[-1], file=sys.stderr, flush=True)
    shown = ", ".join(f"{k} {v}" for k, v in versions().items())
    text = (
        HEAD.format(date=datetime.date.today(), versions=shown, rounds=given.rounds)
        + "\n"
        + "\n".join(lines)
        + "\n"
    )
    if given.output:
        given.output.write_text(text, encoding="utf-8")
    else:
        print(text)


def _taken(sides: Sides, case: Case, rounds: int) -> dict[str, list[float]]:
    """Seconds of CPU time of each run, round by round; the first round is not counted."""
    bare, explained, _ = sides.pair(Entry(case, "onnx", "gradcam"))
    runs: dict[str, Callable[[], Any]] = {"bare file": bare, "file": explained}
    runs.update({other: sides.pair(Entry(case, "torch", other))[1] for other in OTHERS})
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds + 1):
        for name, run in runs.items():
            start = time.process_time()
            run()
            taken[name].append(time.process_time() - start)
    return {name: times[1:] for name, times in taken.items()}


def _ratio(taken: dict[str, list[float]], one: str, other: str) -> str:
    return f"{statistics.median(a / b for a, b in zip(taken[one], taken[other], strict=True)):.2f}"
