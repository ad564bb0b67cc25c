"""Arguments of every operator that has an ONNX form of ours, those of edges among them."""

from typing import Any

import torch
from torch import Tensor

from camport.export.operators.registry import FORMS

own, aten = torch.ops.camport, torch.ops.aten


def draw(*shape: int) -> Tensor:
    """Normal numbers, other ones for each number of axes."""
    generator = torch.Generator().manual_seed(len(shape))
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def around(*edges: float) -> Tensor:
    """Numbers from -8 to 8, and the edges themselves."""
    return torch.cat([torch.linspace(-8, 8, 41, dtype=torch.float64), torch.tensor(edges).double()])


def pooled(*geometry: Any) -> tuple[Any, ...]:
    """For the gradient of max pooling, of values that are equal here and there."""
    x = draw(2, 4, 9, 7).mul(2).round()
    y, indices = aten.max_pool2d_with_indices.default(x, *geometry)
    return (draw(*y.shape), x, indices, *geometry)


def pointwise(*edges: float) -> tuple[Tensor, Tensor]:
    """A gradient, and where it is taken."""
    x = around(*edges)
    return draw(len(x)), x


BETWEEN = torch.linspace(-0.999, 0.999, 33, dtype=torch.float64)
EXAMPLES: dict[Any, list[tuple[Any, ...]]] = {
    own.relu_grad.default: [pointwise(0.0, 1e-20)],
    own.silu_grad.default: [pointwise(0.0)],
    own.hardswish_grad.default: [pointwise(-3.0, 0.0, 3.0)],
    own.window_grad.default: [
        (*pointwise(-1.0, 0.0, 6.0), *ends) for ends in ((0, 6), (-1, 1), (-3, 3))
    ],
    own.max_pool_grad.default: [
        pooled([3, 3], [1, 1], [1, 1], [1, 1], False),  # windows around every place
        pooled([2, 2], [2, 2], [0, 0], [1, 1], False),
        pooled([3, 2], [2, 3], [1, 0], [1, 1], True),
    ],
    own.resize.default: [
        (draw(2, 3, 4, 5), [7, 8], "bilinear", False, None),
        (draw(2, 3, 4, 5), [7, 8], "bilinear", True, None),
        (draw(2, 3, 4, 5), [7, 8], "bicubic", False, [1.75, 1.7]),
        (draw(2, 3, 4, 5), [7, 8], "nearest", False, None),
        (draw(2, 3, 4), [9], "nearest-exact", False, None),
    ],
    own.zero_insert.default: [
        (draw(2, 3, 4, 5), *rest) for rest in (([2, 3], [8, 15]), ([2, 1], [7, 6]))
    ],
    aten.erfinv.default: [
        (torch.cat([BETWEEN, torch.tensor([-1, 0, 1, 0.99999, -0.9966, 1e-6]).double()]),)
    ],
}


def calls() -> list[tuple[Any, tuple[Any, ...]]]:
    """Each operator with its arguments, one call after the other."""
    return [(operator, args) for operator in FORMS for args in EXAMPLES.get(operator, [])]


def named(value: Any) -> str:
    """An operator in a list of tests, or what is no tensor among its arguments."""
    if not isinstance(value, tuple):
        return str(value)
    return ",".join(str(a) for a in value if not isinstance(a, Tensor)).replace(" ", "")
