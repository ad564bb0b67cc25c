"""One export at a time, without the exporter's own messages."""

import logging
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import wraps
from types import ModuleType
from typing import Any, ParamSpec, TypeVar

from camport.errors import silenced

_LOGGERS = (
    "torch.onnx",
    "torch.export",
    "torch.fx",
    "torch._dynamo",
    "torch._export",
    "onnxscript",
    "onnx_ir",
)
_one = threading.RLock()
P, T = ParamSpec("P"), TypeVar("T")


def one_at_a_time(export: Callable[P, T]) -> Callable[P, T]:
    """A function whose calls wait for each other:
    what PyTorch keeps while it traces belongs to the process."""

    @wraps(export)
    def alone(*arguments: P.args, **options: P.kwargs) -> T:
        with _one:
            return export(*arguments, **options)

    return alone


class _OfThisThread(logging.Filter):
    """Drops what loggers of some names, and those below them, say on the thread that made it."""

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__()
        self._names, self._thread = names, threading.get_ident()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is handled."""
        inside = any(
            record.name == name or record.name.startswith(f"{name}.") for name in self._names
        )
        return not inside or threading.get_ident() != self._thread


class _Warnings:
    """Stands for the module `warnings`: on the thread that made it, filters are not exchanged."""

    def __init__(self) -> None:
        self._thread = threading.get_ident()
        self._own: dict[str, Any] = {
            "catch_warnings": _caught,
            "simplefilter": _skipped,
            "filterwarnings": _skipped,
        }

    def __getattr__(self, name: str) -> Any:
        own = self._own.get(name) if threading.get_ident() == self._thread else None
        return own or getattr(warnings, name)


def _caught(*, record: bool = False, **options: Any) -> AbstractContextManager[Any]:
    return warnings.catch_warnings(record=True, **options) if record else nullcontext()


def _skipped(*arguments: Any, **options: Any) -> None:
    pass


@contextmanager
def _filters_kept() -> Iterator[None]:
    """PyTorch ignores its own warnings here and there by filters of the whole process,
    which others would lack.

    This thread is silenced already, so that no filter is needed while the modules of PyTorch see
    the stand-in.
    """
    known = [
        module for name, module in list(sys.modules.items()) if name.partition(".")[0] == "torch"
    ]
    # None stands there for a module whose import somebody forbade
    found = [
        module
        for module in known
        if isinstance(module, ModuleType) and vars(module).get("warnings") is warnings
    ]
    stand_in = _Warnings()
    for module in found:
        vars(module)["warnings"] = stand_in
    try:
        yield
    finally:
        for module in found:
            vars(module)["warnings"] = warnings


class _LastResort(logging.Handler):
    """What logging does with a record that no handler takes."""

    def emit(self, record: logging.LogRecord) -> None:
        """Prints warnings and errors of other threads on stderr."""
        last = logging.lastResort
        if last is not None and record.levelno >= last.level:
            last.handle(record)


@contextmanager
def quiet(*names: str) -> Iterator[None]:
    """While active, torch.onnx and its helpers neither warn nor log on this thread;
    errors still raise.

    Levels, and filters of warnings, stay as they are: other threads hear all that they would hear
    otherwise.

    Args:
        names: of further loggers.
    """
    # logging.warning gives the root logger a handler for good where it has none
    stand_in = None if logging.root.handlers or "root" not in names else _LastResort()
    if stand_in is not None:
        logging.root.addHandler(stand_in)
    handlers, dropped = _handlers(), _OfThisThread((*_LOGGERS, *names))
    for handler in handlers:
        handler.addFilter(dropped)
    try:
        with silenced(Warning), _filters_kept():
            yield
    finally:
        for handler in handlers:
            handler.removeFilter(dropped)
        if stand_in is not None:
            logging.root.removeHandler(stand_in)


def _handlers() -> list[logging.Handler]:
    """All that may print what those loggers are told:
    a filter of a logger is not asked for its children's records."""
    known = [
        logging.root,
        *(v for v in logging.root.manager.loggerDict.values() if isinstance(v, logging.Logger)),
    ]
    found = [handler for logger in known for handler in logger.handlers]
    return list(dict.fromkeys([*found, *([logging.lastResort] if logging.lastResort else [])]))
