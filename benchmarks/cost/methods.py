"""What each method costs beside its limit and beside the same method of other libraries,
all in one run.

```sh
python -m benchmarks methods -o benchmarks/METHODS.md
```

One thread, process CPU time. Everything in a line takes turns with the bare pass, round by round,
so that what else the machine does hits all alike; the median over the rounds of each ratio is
shown.
"""

import argparse
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import camport
from benchmarks.cost.methods_list import LINES, Line
from benchmarks.kit.cases import build
from camport.bench.machine import device_line, versions
from camport.bench.peers import Peers

BATCHES = (1, 4, 8, 16, 32)
"""Sizes of a batch in which the bare pass is timed; the limit takes the best."""

ENOUGH, MOST = 8.0, 21
"""Seconds that a line takes at least, and rounds that it takes at most,
where its runs are short."""


def cpu(run: Callable[[], Any]) -> float:
    """Seconds of CPU time of one run; what it prints is swallowed."""
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        start = time.process_time_ns()
        run()
        return (time.process_time_ns() - start) / 1e9


def bare_passes(model: torch.nn.Module, size: int, rounds: int) -> dict[int, float]:
    """Seconds an image of the bare pass, by the size of the batch: the median of the rounds."""
    images = {b: torch.randn(b, 3, size, size) for b in BATCHES}
    taken: dict[int, list[float]] = {b: [] for b in BATCHES}
    with torch.inference_mode():
        for _ in range(rounds + 1):
            for b, x in images.items():
                taken[b].append(cpu(lambda x=x: model(x)) / b)
    return {b: statistics.median(values[1:]) for b, values in taken.items()}


def timed(line: Line, model: torch.nn.Module, best: int, rounds: int) -> dict[str, float]:
    """Seconds of ours, of the limit and of each peer: medians; and "ratio",
    the median of ours over the limit."""
    images = torch.randn(1, 3, line.size, line.size, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        target = int(model(images)[0].argmax())
    best = best if line.passes > 1 else 1  # one image alone has no batch
    batch = torch.randn(best, 3, line.size, line.size)
    bound = camport.bind(model, line.method, line.layer)
    sides: dict[str, Callable[[], Any]] = {"camport": lambda: bound(images, target)}
    peers = Peers(model, bound.explainer, line.layer, images, target)
    for name in peers.libraries():
        try:
            run = peers.run(name)
            cpu(run)
        except Exception as error:  # a peer that cannot is left out, and said
            print(f"{line.title}: {name} fails: {type(error).__name__}: {error}", file=sys.stderr)
        else:
            sides[name] = run

    def bare() -> Tensor:
        with torch.inference_mode():
            return model(batch)

    if line.tail:
        limit, unit = line.tail(model, images, bound), 1.0
    elif line.passes:
        limit, unit = bare, line.passes / best
    else:
        limit, unit = None, 0.0
    taken: dict[str, list[float]] = {name: [] for name in [*sides, "limit"]}
    rounds = max(rounds, min(MOST, int(ENOUGH / sum(map(cpu, sides.values())))))
    for _ in range(rounds + 1):
        for name, run in sides.items():
            taken[name].append(cpu(run))
            if limit is not None and name == "camport":
                taken["limit"].append(cpu(limit) * unit)
    found = {name: statistics.median(values[1:]) for name, values in taken.items() if values}
    for name in taken:
        if name != "camport" and taken[name]:
            pairs = zip(taken["camport"][1:], taken[name][1:], strict=True)
            found[f"over {name}"] = statistics.median(ours / theirs for ours, theirs in pairs)
    return found


def table(
    results: list[tuple[Line, dict[str, float]]], passes: dict[str, dict[int, float]], rounds: int
) -> str:
    """The page."""
    text = [
        "# What each method costs",
        "",
        f"{time.strftime('%Y-%m-%d')}. {device_line('cpu', cpu_name(), 1)}. "
        + ", ".join(f"{name} {version}" for name, version in versions().items())
        + ".",
        "",
        (
            "Process CPU time of one explanation of one image, one thread, in seconds; all of a"
            f" line take turns in one run, and the median of {rounds} rounds or more is shown"
            f" ({MOST} where they are short). Ratios are medians over the rounds: below 1 camport"
            " is the faster."
        ),
        "",
        (
            "*Limit*: for methods that show the model masked images, their number times the bare"
            " pass of one image at the size of batch at which it is fastest (in the layout of an"
            " ordinary call, channels first). For those that run only what lies behind the layer,"
            " one pass of the image and the variants of that tail, in batches of 32."
        ),
        "",
        (
            "Where one image is explained by itself the difference to 1 is a handful of"
            " milliseconds. Each explanation includes the pass of the clean image, which gives the"
            " outputs and the score that it holds (SmoothGrad: 9 passes, captum's 8); what that"
            " costs, and now and then the whole backward pass, is gained by pooling in a third of"
            " PyTorch's time (`camport.core.isolation.fast_max_pool`), a tenth of this network's"
            " pass."
        ),
        "",
        (
            "Random weights, 1000 classes. `python -m benchmarks methods -o benchmarks/METHODS.md`"
            " makes this file."
        ),
        "",
        (
            "| method | what is run | camport | limit | over limit | grad-cam | over | torchcam |"
            " over | captum | over |"
        ),
        "| :--- | :--- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for line, found in results:
        row = [line.title, line.says, f"{found['camport']:.3f}"]
        for name in ("limit", "grad-cam", "torchcam", "captum"):
            row += (
                [f"{found[name]:.3f}", f"{found[f'over {name}']:.2f}"]
                if name in found
                else ["-", "-"]
            )
        text.append("| " + " | ".join(row) + " |")
    text += ["", "Bare pass, milliseconds an image, by the size of the batch:", ""]
    text.append("| network | " + " | ".join(map(str, BATCHES)) + " |")
    text.append("| :--- |" + " ---: |" * len(BATCHES))
    for name, times in passes.items():
        text.append(f"| {name} | " + " | ".join(f"{1e3 * times[b]:.1f}" for b in BATCHES) + " |")
    return "\n".join(text) + "\n"


def cpu_name() -> str:
    """The processor in words."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return "CPU"
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "CPU"
    )


def main() -> None:
    """Measures and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, help="the page; stdout where left out")
    parser.add_argument(
        "--rounds", type=int, default=7, help="rounds that count, after one that does not"
    )
    parser.add_argument("--only", nargs="*", help="methods, by registry name")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    passes: dict[str, dict[int, float]] = {}
    results = []
    for line in LINES:
        if options.only and line.name not in options.only:
            continue
        model = build(line.network).requires_grad_(False)
        key = f"{line.network}, {line.size}x{line.size}"
        if key not in passes:
            passes[key] = bare_passes(model, line.size, max(3, options.rounds))
        best = min(passes[key], key=passes[key].get)
        found = timed(line, model, best, options.rounds)
        results.append((line, found))
        print(line.title, {k: round(v, 3) for k, v in found.items()}, file=sys.stderr, flush=True)
        if options.output:
            options.output.write_text(table(results, passes, options.rounds))
    if not options.output:
        print(table(results, passes, options.rounds))
