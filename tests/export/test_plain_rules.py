"""The plain forms of our own operators equal the operators."""

import pytest
import torch
from torch import Tensor

from camport.export.rules import PLAIN_RULES
from camport.export.rules.plain import resize

own = torch.ops.camport


def draw(*shape: int) -> Tensor:
    return torch.randn(
        shape, generator=torch.Generator().manual_seed(len(shape)), dtype=torch.float64
    )


@pytest.mark.parametrize("name", ["relu_grad", "silu_grad", "hardswish_grad"])
def test_pointwise(name: str) -> None:
    operator = getattr(own, name).default
    g, x = draw(2, 3, 4, 5), 4 * draw(2, 3, 4, 5)
    assert torch.equal(PLAIN_RULES[operator](g, x), operator(g, x))


@pytest.mark.parametrize(
    ("stride", "size"), [((2, 3), (8, 15)), ((2, 2), (7, 9)), ((2, 1), (9, 5)), ((3, 2), (10, 9))]
)
def test_zero_insert(stride: tuple[int, int], size: tuple[int, int]) -> None:
    operator, g = own.zero_insert.default, draw(2, 3, 4, 5)
    assert torch.equal(
        PLAIN_RULES[operator](g, list(stride), list(size)), operator(g, list(stride), list(size))
    )


MODES = [
    *((mode, 1) for mode in ("linear", "nearest", "nearest-exact")),
    *((mode, 2) for mode in ("bilinear", "bicubic", "nearest", "nearest-exact")),
    *((mode, 3) for mode in ("trilinear", "nearest", "nearest-exact")),
]


@pytest.mark.parametrize("scales", [None, 1.7])
@pytest.mark.parametrize(("mode", "axes"), MODES)
def test_resize(mode: str, axes: int, scales: float | None) -> None:
    x, size = draw(2, 3, *(4, 5, 3)[:axes]), [int(n * 1.7) for n in (4, 5, 3)[:axes]]
    factors = None if scales is None else [scales] * axes
    torch.testing.assert_close(
        resize(x, size, mode, False, factors), own.resize(x, size, mode, False, factors)
    )
    if "nearest" not in mode:
        torch.testing.assert_close(
            resize(x, size, mode, True), own.resize(x, size, mode, True, None)
        )
