"""Marks that many files share."""

import pytest


def rare(*values: object) -> list:
    """Further values of one parameter, each run by `python -m tests --all` alone."""
    return [pytest.param(value, marks=pytest.mark.everything) for value in values]
