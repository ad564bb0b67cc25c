"""What masked images cost in one file: `python -m benchmarks loops -o benchmarks/LOOPS.md`.

A file of Score-CAM, Group-CAM or RISE runs the network once for every masked image, in chunks,
within the graph. It is held against the bare file on as many images, each batch of the size at
which the bare file is fastest.
"""

import argparse
import datetime
import gc
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import camport
from benchmarks.networks.list import NETWORKS, build
from benchmarks.networks.measure import bare_file
from camport.bench.machine import session_of, versions
from camport.core.explainer import Explainer
from camport.export import to_onnx
from camport.plugins import RISE, GroupCAM, ScoreCAM

BATCHES = (1, 2, 4, 8, 16, 32)
AT_MOST = 1.10

HEAD = """\
# What masked images cost in one file

{date}. {versions}.

`python -m benchmarks loops` exports each method on torchvision's resnet18 at 224 x 224 to one ONNX file and times it in
ONNX Runtime on one thread, taking turns with the bare file. **ratio**: CPU time of the file over (number of masked
images) x (CPU time of one image in the bare file at its best batch size), median of the rounds; at most {limit:.2f} is
aimed at. Passes besides the masked ones (the clean image, the blurred one, Grad-CAM's) are not in the denominator.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks loops", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("-o", "--output", type=Path, help="a Markdown file; printed otherwise")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    network = next(n for n in NETWORKS if n.name == "torchvision/resnet18")
    images = np.random.default_rng(0).normal(size=(max(BATCHES), 3, 224, 224)).astype(np.float32)
    lines = [
        "| method | masked images | best batch | ratio | lowest, highest |",
        "| :--- | ---: | ---: | ---: | ---: |",
    ]
    with tempfile.TemporaryDirectory() as folder:
        bare = session_of(bare_file(network, Path(folder)))
        best = _best(bare, images)
        methods: list[tuple[Explainer, int]] = [
            (ScoreCAM(), 512),
            (GroupCAM(), 32),
            (RISE(samples=512), 512),
        ]
        for method, masks in methods:
            file = Path(folder) / f"{method.name}.onnx"
            to_onnx(
                camport.bind(build(network), method, layer="layer4"),
                file,
                torch.from_numpy(images[:1]),
            )
            session = session_of(file)
            gc.collect()
            found = []
            for _ in range(given.rounds):
                one = min(_cpu(bare, images=images[:best]) for _ in range(5)) / best
                found.append(
                    _cpu(session, images=images[:1], target=np.array([-1])) / (masks * one)
                )
            low, high = min(found), max(found)
            lines.append(
                f"| {method.title} | {masks} | {best} | {statistics.median(found):.2f} | {low:.2f},"
                f" {high:.2f} |"
            )
            print(lines[-1], flush=True)
    shown = ", ".join(f"{k} {v}" for k, v in versions().items())
    text = (
        HEAD.format(date=datetime.date.today(), versions=shown, limit=AT_MOST)
        + "\n"
        + "\n".join(lines)
        + "\n"
    )
    if given.output:
        given.output.write_text(text, encoding="utf-8")
    else:
        print(text)


def _best(bare: Any, images: np.ndarray) -> int:
    """The batch at which an image costs least."""
    times = {n: min(_cpu(bare, images=images[:n]) for _ in range(5)) / n for n in BATCHES}
    return min(times, key=times.__getitem__)


def _cpu(session: Any, **feeds: np.ndarray) -> float:
    start = time.process_time()
    session.run(None, feeds)
    return time.process_time() - start
