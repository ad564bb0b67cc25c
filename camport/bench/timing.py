"""The ratio of two runs that take turns, as honest as a shared machine allows.

Bare pass, subject, bare pass, subject, ...: whatever slows the machine slows neighbours alike, so
each round gives one ratio, and the median over many rounds is reported with its quartiles. CPU time
of the whole process counts the work done and is not lengthened by other processes waiting their
turn; wall time is what a user waits for. Both are taken in every round.
"""

import gc
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

WARM_UP = 3
ROUNDS = (15, 300)
"""Fewest and most rounds, whatever the time allowed."""
LONG, FEW = 1.0, 5
"""Seconds of a run from which it is warmed up once and FEW rounds do:
what disturbs it is a small part of it."""


@dataclass
class Clocked:
    """A run that notes what each call took.

    Attributes:
        run: what is timed.
        synchronize: waits until a device has finished; called before and after.
        wall, cpu: seconds of each call.
    """

    run: Callable[[], Any]
    synchronize: Callable[[], None]
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def __call__(self) -> None:
        """One run, noted."""
        self.synchronize()
        cpu, wall = time.process_time_ns(), time.perf_counter_ns()
        self.run()
        self.synchronize()
        self.wall.append((time.perf_counter_ns() - wall) / 1e9)
        self.cpu.append((time.process_time_ns() - cpu) / 1e9)


@dataclass(frozen=True)
class Ratio:
    """Subject over baseline, round by round: the median and its quartiles."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, subject: list[float], baseline: list[float]) -> "Ratio":
        """Of two equally long lists of times."""
        low, median, high = statistics.quantiles(
            [s / b for s, b in zip(subject, baseline, strict=True)], n=4
        )
        return cls(median, low, high)


def interleave(
    benchmark: Any,
    baseline: Callable[[], Any],
    subject: Callable[[], Any],
    synchronize: Callable[[], None],
    seconds: float,
) -> dict[str, Any]:
    """Times both in turns through pytest-benchmark's fixture; what goes into its `extra_info`.

    Args:
        benchmark: the fixture; its own statistics are those of the subject's wall time.
        baseline: the bare forward pass, run as the set-up of every round.
        subject: the explanation.
        synchronize: waits for the device.
        seconds: roughly how long to take.
    """
    bare, explained = Clocked(baseline, synchronize), Clocked(subject, synchronize)
    for turn in range(WARM_UP):
        if not turn or explained.wall[0] < LONG:
            bare()
            explained()
    once = min(bare.wall) + min(explained.wall)
    fewest = ROUNDS[0] if once < LONG else FEW
    rounds = max(fewest, min(ROUNDS[1], round(seconds / once)))
    for clocked in (bare, explained):
        clocked.wall.clear()
        clocked.cpu.clear()
    with collector_at_rest():
        benchmark.pedantic(explained, setup=bare, rounds=rounds)
    if len(bare.wall) < 2:  # --benchmark-disable
        return {}
    cpu, wall = Ratio.of(explained.cpu, bare.cpu), Ratio.of(explained.wall, bare.wall)
    return {
        "ratio_cpu": cpu.median,
        "ratio_cpu_quartiles": [cpu.low, cpu.high],
        "ratio_wall": wall.median,
        "ratio_wall_quartiles": [wall.low, wall.high],
        "bare_cpu_ms": 1e3 * statistics.median(bare.cpu),
        "bare_wall_ms": 1e3 * statistics.median(bare.wall),
        "cpu_ms": 1e3 * statistics.median(explained.cpu),
        "wall_ms": 1e3 * statistics.median(explained.wall),
        "rounds": rounds,
    }


@contextmanager
def collector_at_rest() -> Iterator[None]:
    """What is there now is left out of later collections:
    the test runner's objects are not the subject's cost."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
