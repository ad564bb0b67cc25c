"""Stops where one of the user's own modules runs in place of its double,
as a model reaches it by ways Python hides.

A module that is found by a global variable, say, is not replaced in a double. Run, it would be in
the user's mode, out of reach of hooks, and write into the user's statistics. PyTorch has one hook
that sees every module; it is registered while a double is called, and looks at the modules of this
thread alone.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook

from camport.core.isolation.while_used import WhileUsed
from camport.errors import ModelError


class _Here(threading.local):
    watch: "_Watch | None" = None


class _Watch:
    def __init__(self, originals: Mapping[int, tuple[str, nn.Module]], root: str) -> None:
        self.originals, self.root = originals, root
        self.error: ModelError | None = None


_here = _Here()


@contextmanager
def guarded(originals: Mapping[int, tuple[str, nn.Module]], root: str) -> Iterator[None]:
    """While open, none of `originals` runs in this thread.

    Args:
        originals: modules and their names, by identity.
        root: the class of the model.

    Raises:
        ModelError: one is called; it names it. Also where the model itself catches the error.
    """
    before, watch = _here.watch, _Watch(originals, root)
    with _registered:
        _here.watch = watch
        try:
            yield
        finally:
            _here.watch = before
    if watch.error is not None:
        raise watch.error


def _refuse(module: nn.Module, args: Any) -> None:
    watch = _here.watch
    if watch is None or id(module) not in watch.originals:
        return
    name, found = watch.originals[id(module)]
    if found is not module:
        return
    who = f"{name!r} ({type(module).__name__})" if name else type(module).__name__
    watch.error = ModelError(
        f"{watch.root} is explained on a private copy of it, and its forward called the user's own"
        f" {who} instead of the copy's: it reaches that module by a way that a copy cannot follow,"
        " a global variable for one. Reach it through an attribute of self"
    )
    raise watch.error


def _register() -> Callable[[], None]:
    return register_module_forward_pre_hook(_refuse).remove


_registered = WhileUsed(_register)
