"""Which values of a parameter are run by `python -m tests`,
and which by `python -m tests --all` alone."""

from collections.abc import Collection, Iterable
from typing import Any

import pytest


def rare(*values: Any) -> list:
    """Values that are run by --all alone: one of one parameter, or a tuple of several."""
    return [
        pytest.param(*(v if isinstance(v, tuple) else (v,)), marks=pytest.mark.everything)
        for v in values
    ]


def mostly_rare(values: Iterable[Any], always: Collection[Any]) -> list:
    """All values, those that are not among `always` rare."""
    return [value if value in always else rare(value)[0] for value in values]
