"""Names of a room that arrive when they are first used,
so that the room's own import needs nothing."""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any

from camport.errors import MissingDependencyError


def late(room: str, homes: Mapping[str, str], rooms: tuple[str, ...] = ()) -> Callable[[str], Any]:
    """A module's `__getattr__`.

    Args:
        room: the module, e.g. "camport.export".
        homes: the module of each name.
        rooms: names that are modules themselves.
    """

    def find(name: str) -> Any:
        if name not in homes and name not in rooms:
            raise AttributeError(f"module {room!r} has no attribute {name!r}")
        try:
            return (
                import_module(f"{room}.{name}")
                if name in rooms
                else getattr(import_module(homes[name]), name)
            )
        except ModuleNotFoundError as error:
            if (error.name or "").startswith("camport"):
                raise
            raise MissingDependencyError(
                f'{error.name} is needed for {room}.{name}: pip install "camport[torch]"'
            ) from error

    return find


class _Moved(ModuleType):
    """A module under its earlier name; the one it is now is imported when one of its names is
    used."""

    def __init__(self, name: str, now: str) -> None:
        super().__init__(name)
        self._now = now

    def __getattr__(self, name: str) -> Any:
        # whoever looks at every module of the process (inspect, unittest) asks for these,
        # and is to load nothing
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(import_module(self._now), name)


def moved(room: str, homes: Mapping[str, str]) -> None:
    """Keeps modules of a room importable by the names they had.

    Args:
        room: the package, e.g. "camport.core".
        homes: the module that each is now, below the package, e.g. {"grid": "maps.token_grid"}.
    """
    package = sys.modules[room]
    for old, now in homes.items():
        module = sys.modules[f"{room}.{old}"] = _Moved(f"{room}.{old}", f"{room}.{now}")
        setattr(package, old, module)
