"""When a file that is not quite eager PyTorch is taken for right."""

from itertools import count

import pytest
import torch
from torch import Tensor

from camport.errors import ParityError
from camport.export.proof.parity import check_exported, check_lowered

X = torch.linspace(1, 2, 7)


def function(state, inputs) -> dict[str, Tensor]:
    return {"y": inputs["x"].clone()}


def off(by: float) -> dict[str, Tensor]:
    return {"y": X * (1 + by)}


def check(exported: float, twin=None) -> float:
    parity = check_exported(
        function, {}, lambda _: off(exported), [({"x": X}, {"y": X.double()})], twin=twin
    )
    return parity["y"].bound


def test_as_near_as_eager_holds() -> None:
    assert check(5e-6) == pytest.approx(1e-5)


def test_farther_is_refused() -> None:
    with pytest.raises(ParityError, match=r"output 'y' of the exported graph is 1\.0e-03 off"):
        check(1e-3)


def test_a_kink_that_the_lowered_graph_meets_by_chance_is_allowed() -> None:
    calls = count()
    assert check(1e-3, lambda _: off(1e-3 if next(calls) % 3 == 0 else 1e-7)) == pytest.approx(
        3e-3, rel=1e-3
    )


def test_a_lowered_graph_that_is_always_inexact_excuses_nothing() -> None:
    with pytest.raises(ParityError, match=r"1\.0e-03 off"):
        check(1e-3, lambda _: off(1e-3))


def scaled(flat: Tensor) -> dict[str, Tensor]:
    """As a heatmap is scaled."""
    return {"y": (flat - flat.min()) / (flat.max() - flat.min())}


FLAT = 5 + 1e-9 * torch.linspace(0, 1, 50, dtype=torch.float64)


def test_a_lowered_graph_may_round_a_flat_map_otherwise() -> None:
    error = check_lowered(
        lambda state, inputs: scaled((inputs["x"] + 6.1) - 6.1), {}, {"x": FLAT}, scaled(FLAT)
    )
    assert 1e-9 < error < 1e-5


def test_a_lowered_graph_that_is_wrong_is_refused_for_a_flat_map_too() -> None:
    wrong = 1e-12 * (torch.arange(50) % 2)
    with pytest.raises(ParityError, match="the lowered graph is wrong: output 'y'"):
        check_lowered(
            lambda state, inputs: scaled(inputs["x"] + wrong), {}, {"x": FLAT}, scaled(FLAT)
        )


def test_a_lowered_graph_that_is_off_a_little_is_refused() -> None:
    with pytest.raises(ParityError, match=r"1\.0e-08 off in float64"):
        check_lowered(
            lambda state, inputs: {"y": inputs["x"] * (1 + 1e-8)}, {}, {"x": X}, {"y": X.double()}
        )
