"""What the parts of one explanation of a detection take, each over the bare forward pass."""

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

import camport
from camport.adapters import DetectionAdapter
from camport.bench.timing import collector_at_rest
from camport.core import bound as core_bound
from camport.core import probe as core_probe
from camport.plugins.odam import ODAM

TIMED = {
    "double": (core_bound, "double_of"),
    "forward": (DetectionAdapter, "ask"),
    "reading": (core_probe.Probe, "_note"),
    "pass": (core_probe.Probe, "_run"),
    "gradient": (core_probe, "differentiate"),
    "method": (ODAM, "saliency"),
}
"""The functions whose time is taken; `pass` holds `forward` and `reading`,
`method` that and the gradient."""


def parts(model: nn.Module, images: Sequence[Tensor], rounds: int) -> list[str]:
    """A row for each part of explaining the one detection of each image,
    the median over all rounds."""
    bound = camport.bind(model, adapter=DetectionAdapter(most=1))
    shares: dict[str, list[float]] = {}
    for image in images:
        bound(image)
        with collector_at_rest():
            for _ in range(rounds):
                start = time.process_time()
                with torch.inference_mode():
                    model(image)
                bare = time.process_time() - start
                with _timed() as taken:
                    start = time.process_time()
                    bound(image)
                    whole = time.process_time() - start
                for name, seconds in _named(taken, whole, bare).items():
                    shares.setdefault(name, []).append(seconds / bare)
    return [f"| {name} | {statistics.median(found):.2f} |" for name, found in shares.items()]


def _named(taken: dict[str, float], whole: float, bare: float) -> dict[str, float]:
    method = taken["method"] - taken["pass"] - taken["gradient"]
    named = {
        "the forward pass": bare,
        "recording its tail": taken["forward"] - bare,
        "its gradient": taken["gradient"],
        "ODAM": method,
        "a private double of the model": taken["double"],
        "reading candidates, suppression, matching": taken["reading"],
    }
    return {**named, "all else": whole - sum(named.values()), "together": whole}


@contextmanager
def _timed() -> Iterator[dict[str, float]]:
    """Seconds in each of TIMED while open."""
    taken: dict[str, float] = defaultdict(float)
    with ExitStack() as stack:
        for name, (owner, attribute) in TIMED.items():
            clocked = _clocked(getattr(owner, attribute), name, taken)
            stack.enter_context(patch.object(owner, attribute, clocked))
        yield taken


def _clocked(
    function: Callable[..., Any], name: str, taken: dict[str, float]
) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        start = time.process_time()
        try:
            return function(*args, **kwargs)
        finally:
            taken[name] += time.process_time() - start

    return run
