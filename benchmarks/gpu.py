"""Parity and cost on a GPU, in PyTorch and in onnxruntime-gpu:
`python -m benchmarks gpu -o benchmarks/GPU.md`.

Where there is no GPU it says so in one line. `--rehearse` takes the CPU for it and goes through
every step, so that the script can be tried anywhere; its figures are then the CPU's.
"""

import argparse
import copy
import datetime
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

# read when CUDA starts: float32 means float32, in every library
os.environ.setdefault("NVIDIA_TF32_OVERRIDE", "0")

import numpy as np
import torch

import camport
from benchmarks.engines.files import Exported, Subject
from camport.bench.machine import versions
from camport.bench.timing import Clocked, Ratio
from camport.export.report import OutputParity
from camport.runtime import load
from camport.runtime.binding import Device, place, run_bound
from camport.runtime.cuda import cuda_fault
from camport.runtime.session import open_session

Run = Callable[[], Any]
Arrays = Mapping[str, np.ndarray]
OUTPUTS = ("heatmap", "score", "gradients", "outputs")
PROVIDERS: dict[str, dict[str, dict[str, str]]] = {
    "cuda": {"CUDAExecutionProvider": {"use_tf32": "0"}, "TensorrtExecutionProvider": {}},
    "cpu": {"CPUExecutionProvider": {}},
}
"""What is asked of ONNX Runtime, with options, by PyTorch's name of the device."""

SUBJECTS = (
    Subject("demo-digits", "gradcam", "layer3", 128),
    Subject("resnet18", "gradcam", "layer4"),
    Subject("resnet50", "gradcam", "layer4"),
    Subject("resnet50", "gradcam", "layer2"),
    Subject("mobilenet_v3_large", "gradcam", "features"),
    Subject("vit_b_16", "gradcam", None),
)
WARM_UP, ROUNDS = 10, (30, 500)

METHOD = """\
The difference is the relative l2 distance from PyTorch in float64 on the CPU, the worse of batches of 1 and 3; TF32 is
off everywhere, and what misses the bound of `camport export` is bold. The ratio is prediction and explanation over the
bare network in the same engine, wall time, synchronised, both in turns, the median of {rounds} rounds with its
quartiles. Images lie on the device already; in ONNX Runtime the outputs come back to the host, one copy each. *From the
host* is the time of a whole call of `camport.runtime` over that of the same call with held images.
"""


@dataclass(frozen=True)
class Measured:
    """One engine on one file.

    Attributes:
        file, engine: as the table shows them.
        parity: each output's distance from float64.
        cost: explanation over bare network.
        bare: milliseconds of the bare network.
        rounds: how often both ran.
        transfer: a call from the host over one with held images, in `camport.runtime`.
    """

    file: str
    engine: str
    parity: Mapping[str, OutputParity]
    cost: Ratio
    bare: float
    rounds: int
    transfer: Ratio | None = None


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 2 where there is nothing to measure on, 1 where something differs."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks gpu", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--files", nargs="+", default=["*"], help="networks, as patterns")
    parser.add_argument("--batch", type=int, default=1, help="images in one timed run")
    parser.add_argument(
        "--seconds", type=float, default=5, help="how long one cost is measured, roughly"
    )
    parser.add_argument(
        "--rehearse", action="store_true", help="take the CPU for the GPU: a trial of this script"
    )
    parser.add_argument("-o", "--output", type=Path, help="the Markdown file; otherwise printed")
    given = parser.parse_args(arguments)
    if given.output and not given.output.parent.is_dir():
        parser.error(f"the directory {given.output.parent} does not exist")
    fault = None if given.rehearse else cuda_fault()
    if fault is None and not given.rehearse and not torch.cuda.is_available():
        fault = "PyTorch was built without CUDA"
    if fault:
        print(f"benchmarks.gpu: nothing was measured: {fault}", file=sys.stderr)
        return 2
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    device, found = "cpu" if given.rehearse else "cuda", []
    with tempfile.TemporaryDirectory() as folder:
        for subject in SUBJECTS:
            if any(fnmatch(subject.network, pattern) for pattern in given.files):
                print(f"exporting {subject}", file=sys.stderr, flush=True)
                found += measure(Exported(subject, Path(folder)), Path(folder), device, given)
    text = markdown(found, device)
    if given.output:
        given.output.write_text(text, encoding="utf-8")
    print(text)
    return int(any(not p.holds for row in found for p in row.parity.values()))


def measure(
    exported: Exported, folder: Path, device: str, given: argparse.Namespace
) -> Iterator[Measured]:
    """PyTorch, and each provider that is there."""
    images = torch.cat([sample.inputs["images"] for sample in exported.samples])
    feeds = {
        "images": images[torch.arange(given.batch) % len(images)].numpy(),
        "target": np.full(given.batch, 3),
    }
    yield _torch(exported, feeds, device, given.seconds)
    import onnxruntime

    bare = exported.bare(folder)
    for provider in PROVIDERS[device]:
        if provider in onnxruntime.get_available_providers():
            yield _onnx(exported, bare, feeds, provider, given.seconds)
        else:
            print(
                f'  {provider} is not there: pip install "camport[gpu]" in place of onnxruntime',
                file=sys.stderr,
            )


def _torch(exported: Exported, feeds: Arrays, device: str, seconds: float) -> Measured:
    model = copy.deepcopy(exported.model).to(device)
    bound = camport.bind(model, exported.subject.method, layer=exported.subject.layer)
    images, target = (torch.from_numpy(feeds[name]).to(device) for name in ("images", "target"))
    program = bound.program(images)

    def bare() -> torch.Tensor:
        with torch.inference_mode():
            return model(images)

    def arrays(given: Arrays) -> dict[str, np.ndarray]:
        inputs = {name: torch.from_numpy(array).to(device) for name, array in given.items()}
        return {
            name: value.detach().cpu().numpy()
            for name, value in program(program.state, inputs).items()
        }

    wait = torch.cuda.synchronize if device == "cuda" else None
    cost = _race(bare, lambda: bound(images, target), seconds, wait)
    return Measured(str(exported.subject), "PyTorch", exported.parity(arrays), *cost)


def _onnx(
    exported: Exported, bare_file: Path, feeds: Arrays, provider: str, seconds: float
) -> Measured:
    asked = [(provider, PROVIDERS["cuda"].get(provider, {}))]
    names = ["outputs", "score", "heatmap"]
    explainer = load(exported.file, asked)
    held = explainer.hold(**feeds)
    bare = _bound_run(open_session(bare_file, asked), {"images": feeds["images"]}, ["outputs"])
    explained = _bound_run(open_session(exported.file, asked), feeds, names)
    cost = _race(bare, explained, seconds)
    transfer, *_ = _race(
        lambda: held(only=names), lambda: explainer(**feeds, only=names), seconds / 2
    )
    engine = f"ONNX Runtime, {provider.removesuffix('ExecutionProvider')}"
    parity = exported.parity(lambda given: explainer(**given))
    return Measured(str(exported.subject), engine, parity, *cost, transfer)


def _bound_run(session: Any, feeds: Arrays, outputs: Sequence[str]) -> Run:
    """A run on inputs that lie on the session's device."""
    device = Device.of(session)
    placed = {name: place(array, device) for name, array in feeds.items()}
    return lambda: run_bound(session, device, placed, outputs)


def _race(
    bare: Run, explained: Run, seconds: float, wait: Run | None = None
) -> tuple[Ratio, float, int]:
    """Both in turns: the ratio of their wall times, the first one's milliseconds,
    and how many rounds that was.

    `wait` waits for the device, where a run may return before it is done.
    """
    sides = [Clocked(run, wait or (lambda: None)) for run in (bare, explained)]
    begun = time.perf_counter()
    for turn in range(-WARM_UP, ROUNDS[1]):
        if turn == 0:
            begun = time.perf_counter()
            for side in sides:
                side.wall.clear()
        if turn >= ROUNDS[0] and time.perf_counter() - begun > seconds:
            break
        for side in sides:
            side()
    once, whole = (side.wall for side in sides)
    return Ratio.of(whole, once), 1e3 * statistics.median(once), len(once)


def markdown(found: Sequence[Measured], device: str) -> str:
    """The report."""
    head = ["file", "engine", *OUTPUTS, "bare, ms", "ratio", "from the host"]
    rule = [":---", ":---", *["---:"] * (len(head) - 2)]
    where = (
        torch.cuda.get_device_name()
        if device == "cuda"
        else "A rehearsal on the CPU: no figure is a GPU's"
    )
    used = ", ".join(f"{name} {version}" for name, version in versions().items())
    counts = [row.rounds for row in found] or [0]
    parts = [
        "# On a GPU",
        f"{datetime.date.today()}. {where}; {used}.",
        METHOD.format(rounds=f"{min(counts)} to {max(counts)}").strip(),
        "`python -m benchmarks gpu -o benchmarks/GPU.md` makes this file.",
        "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *map(_cells, found))),
    ]
    return "\n\n".join(parts) + "\n"


def _cells(row: Measured) -> list[str]:
    parity = [row.parity.get(name) for name in OUTPUTS]
    shown = [
        "-" if p is None else f"{p.exported:.0e}" if p.holds else f"**{p.exported:.0e}**"
        for p in parity
    ]
    cost = f"{row.cost.median:.2f} [{row.cost.low:.2f}, {row.cost.high:.2f}]"
    transfer = f"{row.transfer.median:.2f}" if row.transfer else "-"
    return [row.file, row.engine, *shown, f"{row.bare:.2f}", cost, transfer]


if __name__ == "__main__":
    sys.exit(main())
