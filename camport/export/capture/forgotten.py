"""What PyTorch would keep of an export for as long as the process lives."""

import linecache
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from camport.export.private_torch import ShapeEnv, graph_sources, without_fake_cache

_MISSING = object()


@contextmanager
def forgotten() -> Iterator[None]:
    """While open, and after it, PyTorch keeps nothing of what this thread traces.

    It would keep results of operators on fake tensors, by shapes; what follows from a size, with
    the environment of all sizes; that environment also by its own inputs, whose sizes lead back to
    it where the garbage collector does not look; and the source of each graph's code. What other
    threads trace stays, but for what follows from sizes: that is computed again.
    """
    sources: list[str] = []
    environments: list[ShapeEnv] = []
    # this setting is the thread's, before PyTorch 2.11 the process's; a trace seldom calls an
    # operator twice with the same shapes
    with (
        without_fake_cache(),
        _noted(graph_sources(), "cache", lambda arguments, source: sources.append(source)),
        _noted(ShapeEnv, "__init__", lambda arguments, _: environments.append(arguments[0])),
    ):
        try:
            yield
        finally:
            for source in sources:
                graph_sources().eval_cache.pop(source, None)
                linecache.cache.pop(source, None)
            for environment in environments:
                environment.tracked_fakes = None
            for method in vars(ShapeEnv).values():
                if hasattr(method, "cache_clear"):
                    method.cache_clear()


@contextmanager
def _noted(owner: Any, name: str, note: Callable[[tuple[Any, ...], Any], None]) -> Iterator[None]:
    """Hands each call of `owner.name` on this thread, its arguments and its result, to `note`."""
    thread, found, function = (
        threading.get_ident(),
        vars(owner).get(name, _MISSING),
        getattr(owner, name),
    )

    def noted(*arguments: Any, **options: Any) -> Any:
        result = function(*arguments, **options)
        if threading.get_ident() == thread:
            note(arguments, result)
        return result

    setattr(owner, name, noted)
    try:
        yield
    finally:
        if found is _MISSING:
            delattr(owner, name)
        else:
            setattr(owner, name, found)
