"""How much of `camport evaluate` is passes of the network: `python -m benchmarks evaluation_share`.

The stack of the main thread is looked at every few milliseconds: either a module or the autograd
engine is on it, or not. What is left out: loading the model, and the report.
"""

import argparse
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from types import FrameType

import torch

import camport
from camport.cli.allocator import keep_freed_memory
from camport.evaluation import Evaluated, evaluate, open_data
from camport.models import load_model

INSIDE = ("_call_impl", "_engine_run_backward")
EVERY = 0.004


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks evaluation_share", description=__doc__
    )
    parser.add_argument("--model", default="demo:imagenet")
    parser.add_argument("--data", default="demo:photographs")
    parser.add_argument("--count", type=int)
    parser.add_argument("--method", nargs="+", default=["gradcam", "layercam", "saliency"])
    parser.add_argument(
        "--metric", nargs="+", default=["insertion_deletion", "pointing_game", "energy_in_region"]
    )
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(given.threads)
    loaded = load_model(given.model)
    subject = Evaluated(
        loaded.model,
        lambda model, method: camport.bind(model, method, loaded.layer),
        loaded.preprocess,
        loaded.labels,
    )
    examples = open_data(given.data, count=given.count)
    counts: Counter[str] = Counter()
    finished = threading.Event()
    watcher = threading.Thread(target=_watch, args=(threading.get_ident(), counts, finished))
    with tempfile.TemporaryDirectory() as folder:
        watcher.start()
        start = time.perf_counter()
        try:
            evaluate(
                subject,
                given.method,
                given.metric,
                examples,
                Path(folder) / "out",
                batch=given.batch,
            )
        finally:
            seconds = time.perf_counter() - start
            finished.set()
            watcher.join()
    passes, total = counts.pop("passes"), counts.total()
    print(
        f"{seconds:.1f} s, {passes / (passes + total):.1%} of it in passes of the network; the rest"
        " most often in"
    )
    for place, n in counts.most_common(5):
        print(f"  {n / (passes + total):.1%} {place}")


def _watch(thread: int, counts: "Counter[str]", finished: threading.Event) -> None:
    while not finished.wait(EVERY):
        frame: FrameType | None = sys._current_frames().get(thread)
        place, inside = "", False
        while frame is not None:
            code = frame.f_code
            inside = inside or code.co_name in INSIDE
            if not place and "camport" in code.co_filename:
                place = f"{Path(code.co_filename).name}, {code.co_name}"
            frame = frame.f_back
        counts["passes" if inside else place] += 1
