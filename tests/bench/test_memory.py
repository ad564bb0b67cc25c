"""Peak memory of a run, in a process of its own."""

import os
from collections.abc import Callable

import numpy as np
import pytest

from camport.bench.apart import apart
from camport.bench.memory import peak_of
from camport.errors import CamportError, InputError

MB = 1_000_000


def allocates(held: int, more: int) -> Callable[[], object]:
    """Holds `held` MB; the run takes `more` for a while, beyond what was taken and freed before."""
    kept = np.ones(held * MB, np.uint8)
    np.ones(200 * MB, np.uint8)  # freed: no part of the run's peak

    def run() -> object:
        return np.ones(more * MB, np.uint8).size + kept.size

    return run


def raises() -> None:
    raise InputError("a reason")


def dies() -> None:
    os._exit(3)


@pytest.mark.parametrize("held", [0, 150])
def test_what_a_run_allocates_is_measured(held):
    found = peak_of(allocates, held, 64)
    assert found.added == pytest.approx(64 * MB, rel=0.2)
    assert found.held > held * MB


def test_what_goes_wrong_there_is_said_here():
    with pytest.raises(CamportError, match=r"^a reason$"):
        apart(raises)
    with pytest.raises(CamportError, match="ended with status 3"):
        apart(dies)
