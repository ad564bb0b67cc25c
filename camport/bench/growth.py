"""How the time of an explanation grows with the batch, the image,
the network's depth and the number of masks.

Times are CPU seconds of the process, on a GPU wall seconds; all sizes of a series take turns, and
the median over the rounds counts. A power law t = a n^k is fitted by least squares in log t against
log n.
"""

from __future__ import annotations

import math
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

import camport
from camport.bench.networks import Subject, awake, subject
from camport.bench.pairs import bare_pass, method_of
from camport.bench.plan import BARE, Network, Plan
from camport.bench.timing import collector_at_rest
from camport.core.explainer import Explainer
from camport.errors import CamportError, InputError
from camport.plugins import RISE, ScoreCAM

Run = Callable[[], Any]
BATCHES = (1, 2, 4, 8, 16)
SCALES = (0.5, 0.75, 1.0, 1.5, 2.0)
"""Of the network's own image size."""
DEPTHS = (2, 4, 8, 16, 32)
MASKS = (16, 32, 64, 128, 256)
ROUNDS = (5, 50)
SIDE = 64
"""Of the images that stacks of blocks are given."""


@dataclass(frozen=True)
class Power:
    """t = a n^k.

    Attributes:
        factor: a.
        exponent: k.
        error: standard error of the exponent.
    """

    factor: float
    exponent: float
    error: float


@dataclass(frozen=True)
class Series:
    """One curve.

    Attributes:
        axis: what grows, as a panel's title.
        name: what is run.
        sizes: n.
        seconds: of one run at each of them.
    """

    axis: str
    name: str
    sizes: tuple[int, ...]
    seconds: tuple[float, ...]

    @property
    def power(self) -> Power:
        """The fitted law."""
        return fitted(self.sizes, self.seconds)


def fitted(sizes: Sequence[float], times: Sequence[float]) -> Power:
    """The power law by ordinary least squares of log t on log n.

    Raises:
        InputError: fewer than three points, or values that have no logarithm.
    """
    if len(sizes) != len(times) or len(set(sizes)) < 3 or min(*sizes, *times) <= 0:
        raise InputError(
            f"{len(set(sizes))} sizes and {len(times)} times; wanted three or more of each, all"
            " above 0"
        )
    x, y = [math.log(n) for n in sizes], [math.log(t) for t in times]
    middle, height = statistics.fmean(x), statistics.fmean(y)
    spread = sum((a - middle) ** 2 for a in x)
    exponent = sum((a - middle) * (b - height) for a, b in zip(x, y, strict=True)) / spread
    constant = height - exponent * middle
    residual = sum((b - constant - exponent * a) ** 2 for a, b in zip(x, y, strict=True))
    return Power(math.exp(constant), exponent, math.sqrt(residual / (len(x) - 2) / spread))


def growth(plan: Plan, methods: Sequence[str]) -> list[Series]:
    """All series: batch and image size on each network,
    depth and masks on stacks of residual blocks.

    Args:
        plan: its networks, device, threads and seconds, those of a series.
        methods: as in `camport.bench.plan.Entry`, beside the bare pass. Those that do not fit a
            network are left out there.
    """
    torch.set_num_threads(plan.threads)
    found: list[Series] = []
    for network in plan.networks:
        own = subject(network, 1).images.shape[-1]
        sides = sorted({max(32, round(own * scale / 32) * 32) for scale in SCALES})
        batches = {n: subject(network, n, plan.device) for n in BATCHES}
        found += _each(f"batch, {network.spec}", batches, methods, plan)
        sizes = {
            s * s: subject(Network(network.spec, network.weights, s), 1, plan.device) for s in sides
        }
        found += _each(f"pixels, {network.spec}", sizes, methods, plan)
    depths = {n: _stacked(n, 32, plan.device) for n in DEPTHS}
    found += _each("residual blocks", depths, methods, plan, own_layer=False)
    seen = depths[DEPTHS[1]]
    masked = {n: _explained(seen, RISE(samples=n)) for n in MASKS}
    found.append(_series("masks", "rise", masked, plan))
    channels = {n: _explained(_stacked(DEPTHS[1], n, plan.device), ScoreCAM()) for n in MASKS}
    found.append(_series("masks", "scorecam", channels, plan))
    return found


class Stack(nn.Module):
    """`depth` equal residual blocks of 32 channels,
    and a layer of `maps` channels before the classes."""

    def __init__(self, depth: int, maps: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU()
        )
        self.blocks = nn.Sequential(*(_Residual(32) for _ in range(depth)))
        self.maps = nn.Sequential(
            nn.Conv2d(32, maps, 1, bias=False), nn.BatchNorm2d(maps), nn.ReLU()
        )
        self.head = nn.Linear(maps, 10)

    def forward(self, images: Tensor) -> Tensor:
        """[b,3,H,W] -> [b,10]."""
        scores: Tensor = self.head(self.maps(self.blocks(self.stem(images))).mean((2, 3)))
        return scores


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(2):
            layers += [nn.Conv2d(channels, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels)]
        self.branch = nn.Sequential(layers[0], layers[1], nn.ReLU(), layers[2], layers[3])

    def forward(self, x: Tensor) -> Tensor:
        return (x + self.branch(x)).relu()


def _stacked(depth: int, maps: int, device: str) -> Subject:
    torch.manual_seed(0)
    images = torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    model = awake(Stack(depth, maps), torch.randn(4, 3, SIDE, SIDE))
    return Subject(model.to(device), images.to(device), "maps")


def _each(
    axis: str,
    subjects: dict[int, Subject],
    methods: Sequence[str],
    plan: Plan,
    own_layer: bool = True,
) -> list[Series]:
    """A series of the bare pass and of each method."""
    found = [_series(axis, BARE, {n: bare_pass(s) for n, s in subjects.items()}, plan)]
    for text in methods:
        method, layer = method_of(text)
        try:
            runs = {
                n: _explained(s, method, layer if own_layer else None) for n, s in subjects.items()
            }
            found.append(_series(axis, text, runs, plan))
        except CamportError:  # a method that does not fit the network; the table of ratios says why
            continue
    return found


def _explained(found: Subject, method: Explainer, layer: str | None = None) -> Run:
    bound = camport.bind(found.model, method, layer or found.layer)
    return lambda: bound(found.images)


def _series(axis: str, name: str, runs: dict[int, Run], plan: Plan) -> Series:
    """Times all sizes in turns, after one run of each that does not count."""
    taken: dict[int, list[float]] = {n: [] for n in runs}
    with warnings.catch_warnings(), collector_at_rest():
        warnings.simplefilter("ignore")
        once = sum(_seconds(run, plan.device) for run in runs.values())
        for _ in range(max(ROUNDS[0], min(ROUNDS[1], round(plan.seconds / once)))):
            for n, run in runs.items():
                taken[n].append(_seconds(run, plan.device))
    return Series(
        axis, name, tuple(runs), tuple(statistics.median(values) for values in taken.values())
    )


def _seconds(run: Run, device: str) -> float:
    if device != "cuda":
        start = time.process_time_ns()
        run()
        return (time.process_time_ns() - start) / 1e9
    torch.cuda.synchronize()
    start = time.perf_counter_ns()
    run()
    torch.cuda.synchronize()
    return (time.perf_counter_ns() - start) / 1e9
