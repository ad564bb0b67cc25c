"""Runs checkpointed parts of a model as if they were not:
what a backward pass computes anew passes by the hooks.

Models import `torch.utils.checkpoint.checkpoint` by name, so not that is replaced but what it
calls. Other threads get PyTorch's own.
"""

import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any

import torch.utils.checkpoint as checkpointing

from camport.core.isolation.while_used import WhileUsed


class _Here(threading.local):
    depth = 0


_here = _Here()


@contextmanager
def uncheckpointed() -> Iterator[None]:
    """While open, `checkpoint` of this thread calls its function and no more, reentrant or not."""
    with _replaced:
        _here.depth += 1
        try:
            yield
        finally:
            _here.depth -= 1


def _replace() -> Callable[[], None]:
    kind: Any = checkpointing.CheckpointFunction
    apply = kind.apply

    def reentrant(function: Callable[..., Any], preserve: bool, *args: Any) -> Any:
        return function(*args) if _here.depth else apply(function, preserve, *args)

    names = [name for name in _GENERATORS if hasattr(checkpointing, name)]
    kept = {name: getattr(checkpointing, name) for name in names}
    kind.apply = staticmethod(reentrant)
    for name, generator in kept.items():
        setattr(checkpointing, name, _unless_here(generator))

    def undo() -> None:
        del kind.apply  # the inherited one is back
        for name, generator in kept.items():
            setattr(checkpointing, name, generator)

    return undo


_GENERATORS = (
    "_checkpoint_without_reentrant_generator",
    "_checkpoint_without_reentrant_generator_impl",
)
"""What is done before and after a function that is no reentrant checkpoint's;
the second is PyTorch 2.15's."""


def _unless_here(generator: Callable[..., Any]) -> Callable[..., Any]:
    def chosen(*args: Any, **kwargs: Any) -> Any:
        return _nothing() if _here.depth else generator(*args, **kwargs)

    return chosen


def _nothing() -> Generator[None, None, None]:
    yield


_replaced = WhileUsed(_replace)
