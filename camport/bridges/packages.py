"""The packages that the bridges lead to, imported when they are there."""

from importlib import import_module
from typing import Any

from camport.errors import MissingDependencyError


def package(module: str, install: str) -> Any:
    """A module of another package.

    Args:
        module: its dotted name.
        install: what pip calls the package.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise  # the package is there, and misses one of its own
        raise MissingDependencyError(
            f"{module.split('.')[0]} is needed for this: pip install {install}"
        ) from error
