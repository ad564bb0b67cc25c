"""One step over many codes, a chunk at a time, so that memory is bounded whatever their number.

A code is what tells one variant of the images from another: a channel's map, a random grid, a
noise's number. The loop is exchangeable: eagerly it is Python's, while a graph is traced it becomes
a loop in the graph.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from camport.errors import MemoryWarning, out_of_memory

Step = Callable[..., Tensor]
"""Takes a chunk of each code, [m,...], and gives a result for each of the m variants, [m,...]."""

Tick = Callable[[int, int], None]
"""Told how many codes are done, of how many."""


class Loop(Protocol):
    """Runs a step over codes `[r,...]` in chunks: all results `[r,...]`,
    or with `total` their sum `[...]`."""

    def __call__(
        self, step: Step, codes: Sequence[Tensor], chunk: int, total: bool, tick: Tick | None
    ) -> Tensor:
        """Runs it."""
        ...


def in_chunks(
    step: Step, codes: Sequence[Tensor], chunk: int, total: bool, tick: Tick | None
) -> Tensor:
    """Python's own loop. Results are written in place, so that not even the parts lie about.

    A chunk for which there is no memory is halved, with a MemoryWarning.
    """
    r, start = codes[0].shape[0], 0
    results: Tensor | None = None
    while start < r:
        m = min(chunk, r - start)
        try:
            part = step(*(code[start : start + m] for code in codes)).detach()
        except Exception as error:
            if m == 1 or not out_of_memory(error):
                raise
            chunk = m // 2
            warnings.warn(
                f"not enough memory for {m} variants of the images at a time; goes on with {chunk}:"
                " give a smaller chunk (chunk=, --chunk)",
                MemoryWarning,
                stacklevel=2,
            )
            continue  # behind the handler, where the frames of the failed step are let go
        if total:
            part = part.sum(0)
            results = part if results is None else results.add_(part)
        else:
            if results is None:
                results = part.new_empty((r, *part.shape[1:]))
            results[start : start + m] = part
        start += m
        if tick:
            tick(start, r)
    assert results is not None, "a loop over no codes"
    return results


_current: ContextVar[Loop] = ContextVar("camport_loop", default=in_chunks)


def current_loop() -> Loop:
    """The loop in force in this thread."""
    return _current.get()


def traced() -> bool:
    """Whether loops go into a graph, where nothing may depend on values."""
    return _current.get() is not in_chunks


@contextmanager
def looping(loop: Loop) -> Iterator[None]:
    """Puts `loop` in force for the body."""
    token = _current.set(loop)
    try:
        yield
    finally:
        _current.reset(token)


@dataclass
class Limit:
    """How many variants a loop may run, None for all; and whether one had more."""

    variants: int | None
    cut: bool = False


_limit: ContextVar[Limit] = ContextVar("camport_limit")


def current_limit() -> Limit:
    """The limit in force in this thread."""
    return _limit.get(Limit(None))


@contextmanager
def limited(variants: int | None) -> Iterator[Limit]:
    """Loops of the body run their first `variants` alone, and take the others to be like them.

    Checking a file against float64 needs every turn's arithmetic once, not a thousand times.
    """
    limit = Limit(variants)
    token = _limit.set(limit)
    try:
        yield limit
    finally:
        _limit.reset(token)


def repeat(tensor: Tensor, m: int) -> Tensor:
    """The rows of a tensor [b,...] for m variants, [m*b,...], variant by variant."""
    return tensor.expand(m, *tensor.shape).flatten(0, 1)
