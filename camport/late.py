"""Names of a room that arrive when they are first used, so that the room's own import needs nothing."""

from collections.abc import Callable, Mapping
from importlib import import_module
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
            return import_module(f"{room}.{name}") if name in rooms else getattr(import_module(homes[name]), name)
        except ModuleNotFoundError as error:
            if (error.name or "").startswith("camport"):
                raise
            raise MissingDependencyError(
                f'{error.name} is needed for {room}.{name}: pip install "camport[torch]"'
            ) from error

    return find
