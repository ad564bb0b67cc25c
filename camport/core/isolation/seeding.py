"""What a model's forward does to the process's generators,
it does to those of the thread that runs it.

`torch.manual_seed`, `torch.set_rng_state`, `torch.random.fork_rng` and the like find the process's
generators by a name in a module of PyTorch's. While a thread has generators of its own, a stand-in
has that name: on such a thread it is the thread's generator, on all others the process's.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch

_here = threading.local()
_lock = threading.Lock()
_open = 0
_names: list[tuple[Any, str, Any]] = []
"""While some thread has generators: module, name and what had that name."""


class Generators(Protocol):
    """A thread's own generators."""

    def seeded(self, device: torch.device) -> torch.Generator:
        """That of a device, which the model is about to write or to read."""


@contextmanager
def own(generators: Generators) -> Iterator[None]:
    """While open, the process's generators are `generators` for this thread."""
    _here.generators = generators
    _count(1)
    try:
        yield
    finally:
        _here.generators = None
        _count(-1)


def numbered(device: torch.device) -> torch.device:
    """The same device, with its number where it has one: "cuda" is the current of several."""
    return torch.empty(0, device=device).device if device.type == "cuda" else device


def of_process(generator: Any) -> bool:
    """Whether a generator that an operator is given is one of the process's.

    An operator is handed another Python object of the same generator.
    """
    known: list[Any] = [torch.default_generator, *_of_cuda()]
    return any(generator._cdata == each._cdata for each in known)


def state_of(device: torch.device) -> torch.Tensor:
    """The state of the process's generator, whatever this thread has."""
    generator = (
        torch.default_generator if device.type == "cpu" else _of_cuda()[numbered(device).index]
    )
    return generator.get_state()


def set_state_of(device: torch.device, state: torch.Tensor) -> None:
    """Writes the state of the process's generator."""
    generator = (
        torch.default_generator if device.type == "cpu" else _of_cuda()[numbered(device).index]
    )
    generator.set_state(state)


class _StandIn:
    """Stands for a generator of the process's in a module of PyTorch's."""

    def __init__(self, generator: torch.Generator, device: torch.device) -> None:
        self._generator, self._device = generator, device

    def __getattr__(self, name: str) -> Any:
        generators: Generators | None = getattr(_here, "generators", None)
        return getattr(
            self._generator if generators is None else generators.seeded(self._device), name
        )


def _count(step: int) -> None:
    """Puts the stand-ins in place for the first thread, and takes them away after the last."""
    global _open
    with _lock:
        _open += step
        if step > 0 and _open == 1:
            _stand_in(
                torch.random,
                "default_generator",
                _StandIn(torch.default_generator, torch.device("cpu")),
            )
            if torch.cuda.is_initialized():
                found = torch.cuda.default_generators
                given = [_StandIn(each, torch.device("cuda", i)) for i, each in enumerate(found)]
                _stand_in(torch.cuda, "default_generators", tuple(given))
        elif not _open:
            while _names:
                module, name, before = _names.pop()
                setattr(module, name, before)


def _stand_in(module: Any, name: str, value: Any) -> None:
    _names.append((module, name, getattr(module, name)))
    setattr(module, name, value)


def _of_cuda() -> tuple[torch.Generator, ...]:
    """The process's generators of CUDA devices; none before CUDA has begun."""
    found = torch.cuda.default_generators
    return tuple(each._generator if isinstance(each, _StandIn) else each for each in found)
