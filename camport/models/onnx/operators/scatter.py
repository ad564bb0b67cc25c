"""Writing by index, out of place."""

import torch
from torch import Tensor

from camport.errors import ModelError
from camport.models.onnx.operators.indexing import from_end, index_tuple
from camport.models.onnx.registry import operator

_REDUCE = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


@operator("ScatterND")
def scatter_nd(
    data: Tensor, indices: Tensor, updates: Tensor, *, reduction: str = "none"
) -> Tensor:
    """`data` with slices replaced, or added to,
    at index tuples that lie along the last axis of `indices`."""
    if reduction not in ("none", "add"):
        raise ModelError(
            f"ScatterND with reduction {reduction!r} is not imported; 'none' and 'add' are"
        )
    return data.index_put(index_tuple(data, indices), updates, accumulate=reduction == "add")


@operator("ScatterElements", "Scatter")
def scatter_elements(
    data: Tensor, indices: Tensor, updates: Tensor, *, axis: int = 0, reduction: str = "none"
) -> Tensor:
    """`data` with elements replaced, or reduced with others,
    whose place along one axis is given."""
    index = from_end(indices, data.shape[axis])
    if reduction == "none":
        return torch.scatter(data, axis, index, updates)
    return torch.scatter_reduce(data, axis, index, updates, _REDUCE[reduction])
