"""Modules whose functions remember results (functools.lru_cache), without the memory.

What was remembered in inference mode lets no gradient through, and symbolic sizes cannot be looked up.
"""

from collections.abc import Callable
from types import CellType
from typing import Any

from torch import nn


def forgetful(kind: type[nn.Module]) -> type[nn.Module]:
    """A class derived from `kind` that computes anew what `kind` remembers; `kind` itself where that is nothing."""
    found: dict[str, Any] = {}
    for part in kind.__mro__[: kind.__mro__.index(nn.Module)]:
        for name, member in vars(part).items():
            function = _without_memory(member)
            if function is not None:
                found.setdefault(name, function)
    return type(kind.__name__, (kind,), {"__module__": kind.__module__, **found}) if found else kind


def _without_memory(member: Any) -> Callable[..., Any] | None:
    static = isinstance(member, staticmethod)
    outer = member.__func__ if static else member
    if not hasattr(outer, "__wrapped__"):
        return None
    held = [_content(cell) for cell in getattr(outer, "__closure__", None) or ()]
    if not any(hasattr(value, "cache_info") for value in (outer, *held)):
        return None
    return staticmethod(outer.__wrapped__) if static else outer.__wrapped__


def _content(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # empty
        return None
