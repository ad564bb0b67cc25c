"""Rows sorted by a score may change places where their scores tie, and nowhere else."""

import pytest
import torch
from torch import Tensor

from camport.export.proof.parity import compare
from camport.export.proof.tied_rows import in_order_of

SCORES = torch.tensor(
    [0.9, 0.5, 0.5 - 1e-7, 0.5 - 2e-7, 0.3, 0.3 * (1 - 1e-4)], dtype=torch.float64
)


def rows() -> Tensor:
    """[1,6,4]: three numbers of its own a row, then the score."""
    own = torch.rand(6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return torch.cat([own, SCORES[:, None]], 1)[None]


def error(exported: Tensor) -> float:
    """What the gate finds of a file that puts out this, where the program puts out `rows`."""
    parity = compare(
        lambda state, inputs: {"y": rows().float()},
        {},
        lambda _: {"y": exported},
        {},
        {"y": rows()},
    )
    assert parity["y"].holds == (parity["y"].exported <= 1e-5)
    return parity["y"].exported


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4, 5], [0, 2, 1, 3, 4, 5], [0, 3, 1, 2, 4, 5]])
def test_tied_rows_change_places(order: list[int]) -> None:
    exported = rows()[:, order].float()
    exported[:, 1:4, 3] = 0.5  # as float32 has them: one and the same
    assert error(exported) < 1e-6


def test_untied_rows_do_not() -> None:
    exported = rows().float()
    exported[:, [4, 5], :3] = exported[:, [5, 4], :3]
    assert error(exported) > 0.01


def test_what_is_wrong_in_a_tied_row_is_wrong() -> None:
    exported = rows()[:, [0, 2, 1, 3, 4, 5]].float()
    exported[:, 1:4, 3] = 0.5
    exported[0, 1, 0] += 0.01
    assert 1e-4 < error(exported) < 0.01


def test_a_row_that_comes_twice_is_wrong() -> None:
    exported = rows()[:, [0, 1, 1, 3, 4, 5]].float()
    exported[:, 1:4, 3] = 0.5
    assert error(exported) > 0.01


def test_unsorted_rows_stay() -> None:
    mixed = rows()[:, [1, 0, 2, 3, 4, 5]]
    assert torch.equal(in_order_of(mixed, mixed.flip(1)), mixed.flip(1))


@pytest.mark.parametrize("shape", [(2, 3), (2, 1, 3), (2, 3, 4, 5), (2, 0, 3)])
def test_other_shapes_stay(shape: tuple[int, ...]) -> None:
    x = torch.rand(shape)
    assert in_order_of(x, x) is x or torch.equal(in_order_of(x, x), x)
