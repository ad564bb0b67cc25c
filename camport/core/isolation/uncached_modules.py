"""Modules whose methods remember results (functools.lru_cache) or are compiled,
as they were written.

What was remembered in inference mode lets no gradient through, and symbolic sizes cannot be looked
up. Hooks are not seen from within compiled code.
"""

from collections.abc import Callable
from types import CellType
from typing import Any

from torch import nn

from camport.core.isolation.compiled import uncompiled


def forgetful(kind: type[nn.Module]) -> type[nn.Module]:
    """A class derived from `kind` that runs its methods as they were written;
    `kind` itself where it does."""
    members: dict[str, Any] = {}
    for part in kind.__mro__[: kind.__mro__.index(nn.Module)]:
        for name, member in vars(part).items():
            members.setdefault(name, member)
    found = {
        name: plain for name, member in members.items() if (plain := _plain(member)) is not None
    }
    return type(kind.__name__, (kind,), {"__module__": kind.__module__, **found}) if found else kind


def _plain(member: Any) -> Any:
    """A method as it was written; None where it is."""
    inner = uncompiled(member)
    return _without_memory(inner) or (None if inner is member else inner)


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
