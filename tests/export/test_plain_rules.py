"""The plain forms of our own operators equal the operators."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from camport.export.rules import PLAIN_RULES
from camport.export.rules.plain import resize
from tests.export.operator_examples import calls, named

own = torch.ops.camport


def draw(*shape: int) -> Tensor:
    return torch.randn(
        shape, generator=torch.Generator().manual_seed(len(shape)), dtype=torch.float64
    )


@pytest.mark.parametrize(("operator", "args"), calls(), ids=named)
def test_a_plain_graph_has_none_and_says_the_same(operator: Any, args: tuple[Any, ...]) -> None:
    """Its rules end, too: a meaning that calls what a rule writes with the operator would never."""

    def called(*tensors: Tensor) -> Tensor:
        given = iter(tensors)
        return operator(*(next(given) if isinstance(a, Tensor) else a for a in args))

    tensors = [a for a in args if isinstance(a, Tensor)]
    graph = make_fx(called, decomposition_table=PLAIN_RULES)(*tensors)
    assert [str(n.target) for n in graph.graph.nodes if "camport" in str(n.target)] == []
    torch.testing.assert_close(graph(*tensors), operator(*args))


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
