"""Order and running sums."""

import torch
from torch import Tensor

from camport.models.onnx.registry import operator
from camport.models.onnx.small import Ints, Small, number


@operator("TopK", static=("k",))
def top_k(
    x: Tensor, k: Ints | int, *, axis: int = -1, largest: int = 1, sorted: int = 1
) -> tuple[Tensor, Tensor]:
    """The k largest or smallest elements along an axis, and their indices."""
    count = k[0] if isinstance(k, list) else number(k)
    values, indices = torch.topk(x, count, axis, bool(largest), True)
    return values, indices


@operator("CumSum", static=("axis",))
def cumulative_sum(
    x: Tensor, axis: Small | Tensor, *, exclusive: int = 0, reverse: int = 0
) -> Tensor:
    """Running sums along an axis, from the end for `reverse`,
    without the element itself for `exclusive`."""
    dim = number(axis)
    x = x.flip(dim) if reverse else x
    y = x.cumsum(dim, dtype=x.dtype)
    y = y - x if exclusive else y
    return y.flip(dim) if reverse else y
