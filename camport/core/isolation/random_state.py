"""A model that draws random numbers draws them from generators of its own, not from the process's.

The process's generator belongs to every thread. To save and restore it around a call would hand
numbers that another thread has drawn meanwhile out again, so that it is read and never written.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from camport.core.isolation.seeding import numbered, of_process, own, set_state_of, state_of

aten = torch.ops.aten
_here = threading.local()
_draws: WeakKeyDictionary[nn.Module, dict[bool, bool]] = WeakKeyDictionary()
"""Whether a model draws, by whether a part of it is in training mode;
what is not known is not there."""
_lock = threading.Lock()


@contextmanager
def random_state_kept(device: torch.device, model: nn.Module | None = None) -> Iterator[None]:
    """Random operators that run in here, on this thread,
    leave the generators of the process as they are.

    Their numbers are those that the process's generator would have given, also after the model has
    seeded it. Contexts within one another begin with the same numbers one after the other.

    Args:
        device: of the images.
        model: what runs in here, if it is a model alone: one that is known to draw nothing is run
            without a watch, which costs some microseconds an operator.
    """
    outer: PrivateGenerators | None = getattr(_here, "mode", None)
    if outer is not None:
        with outer.kept():
            yield
        return
    if getattr(_here, "unwatched", False):
        yield
        return
    training = model is not None and any(
        getattr(module, "training", False) for module in model.modules()
    )
    known = None if model is None else _draws.get(model, {}).get(training)
    if model is not None and known is False:
        before = _states(device)
        _here.unwatched = True
        try:
            yield
        finally:
            _here.unwatched = False
            if any(not torch.equal(a, b) for a, b in zip(before, _states(device), strict=True)):
                # it draws now, or another thread drew: watched at the next call
                _draws.pop(model, None)
        return
    _here.mode = mode = PrivateGenerators()
    try:
        with own(mode), mode:
            yield
    finally:
        _here.mode = None
    if model is not None:
        _draws.setdefault(model, {})[training] = mode.used


def numbers_drawn() -> list[Tensor]:
    """The states of this thread's private generators: equal ones after as many numbers."""
    mode: PrivateGenerators | None = getattr(_here, "mode", None)
    return [] if mode is None else mode.states()


def python_states() -> tuple[Any, ...]:
    """Of Python's and NumPy's generators, which are read and never written:
    equal ones if nothing was drawn."""
    numpy: Any = np.random.get_state()  # noqa: NPY002 - a model may draw from the global generator
    return random.getstate(), numpy[1].tobytes(), numpy[2]


class PrivateGenerators(TorchDispatchMode):
    """Hands every random operator a generator that began as a copy of its device's.

    Attributes:
        used: an operator has drawn, or the model has seeded.
    """

    def __init__(self) -> None:
        super().__init__()
        self.used = False
        self._generators: dict[torch.device, torch.Generator] = {}

    def states(self) -> list[Tensor]:
        """Of the generators that there are."""
        return [generator.get_state() for generator in self._generators.values()]

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Afterwards the same numbers come again."""
        before = {device: generator.get_state() for device, generator in self._generators.items()}
        try:
            yield
        finally:
            self._generators = {device: self._generators[device] for device in before}
            for device, state in before.items():
                self._generators[device].set_state(state)

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if torch.Tag.nondeterministic_seeded not in func.tags:
            return func(*args, **kwargs)
        given = kwargs.get("generator")
        if given is not None and not of_process(given):
            return func(*args, **kwargs)
        device = _device(args, kwargs)
        if device.type not in ("cpu", "cuda"):  # a tensor without values draws nothing
            return func(*args, **kwargs)
        self.used = True
        return _drawn(func, args, kwargs, self._generator(device))

    def seeded(self, device: torch.device) -> torch.Generator:
        """That of a device, for `torch.manual_seed` and its kin."""
        self.used = True
        return self._generator(device)

    def _generator(self, device: torch.device) -> torch.Generator:
        device = numbered(device)
        if device not in self._generators:
            generator = torch.Generator(device)
            generator.set_state(state_of(device))
            self._generators[device] = generator
        return self._generators[device]


def _drawn(
    func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], generator: torch.Generator
) -> Any:
    """The operator with this generator."""
    if any(argument.name == "generator" for argument in func._schema.arguments):
        return func(*args, **{**kwargs, "generator": generator})
    like = _LIKE.get(func.overloadpacket)
    if like is not None:
        return like(func, args, kwargs, generator)
    name = func._overloadname
    wanted = "generator" if name == "default" else f"{name}_generator"
    if wanted in func.overloadpacket.overloads():
        return getattr(func.overloadpacket, wanted)(*args, **{**kwargs, "generator": generator})
    return _swapped(func, args, kwargs, generator)


def _dropout(
    func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], generator: torch.Generator
) -> Any:
    """x · m / (1 - p), m from a Bernoulli distribution, and m."""
    x, p, train = args[0], float(args[1]), args[2] is not False
    mask = torch.ones_like(x)
    if train:
        mask = mask.bernoulli_(1 - p, generator=generator) if p < 1 else torch.zeros_like(x)
    return x * mask * (1 / (1 - p) if train and p < 1 else 1.0), mask.bool()


def _filled(
    fill: Callable[[Tensor, tuple[Any, ...], torch.Generator], Tensor],
) -> Callable[..., Any]:
    """An operator that makes a tensor like another and fills it."""

    def make(
        func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], generator: torch.Generator
    ) -> Any:
        return fill(torch.empty_like(args[0], **kwargs), args[1:], generator)

    return make


def _between(x: Tensor, args: tuple[Any, ...], generator: torch.Generator) -> Tensor:
    low, high = args if len(args) == 2 else (0, args[0])
    return x.random_(int(low), int(high), generator=generator)


_LIKE: dict[Any, Callable[..., Any]] = {
    aten.native_dropout: _dropout,
    aten.rand_like: _filled(lambda x, args, generator: x.uniform_(generator=generator)),
    aten.randn_like: _filled(lambda x, args, generator: x.normal_(generator=generator)),
    aten.randint_like: _filled(_between),
}


def _swapped(
    func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], generator: torch.Generator
) -> Any:
    """An operator that reads the device's own generator alone,
    such as fused attention with dropout on a GPU.

    For the time of the call its state is the private one. A thread that draws on the same device at
    that moment meets it: what a lock can do is done.
    """
    device = generator.device
    with _lock:
        before = state_of(device)
        set_state_of(device, generator.get_state())
        try:
            return func(*args, **kwargs)
        finally:
            generator.set_state(state_of(device))
            set_state_of(device, before)


def _device(args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.device:
    """Where an operator computes."""
    if kwargs.get("device") is not None:
        return torch.device(kwargs["device"])
    tensors = [
        leaf for leaf in torch.utils._pytree.tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)
    ]
    return tensors[0].device if tensors else torch.device("cpu")


def _states(device: torch.device) -> list[Tensor]:
    return [state_of(torch.device("cpu")), *([state_of(device)] if device.type == "cuda" else [])]
