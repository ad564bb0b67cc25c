"""Reading by index."""

from typing import Any

import torch
from torch import Tensor

from camport.models.onnx.registry import operator
from camport.models.onnx.small import Small


@operator("Gather", scalar=("indices",))
def gather(data: Tensor, indices: Tensor | Small, *, axis: int = 0) -> Tensor:
    """The slices of `data` at `indices` along an axis; the axes of `indices` take its place."""
    axis = axis % data.dim()
    if isinstance(indices, Small) and len(indices.values) == 1:
        # one known index needs no gather, whose derivative would be a scatter
        taken = data.select(axis, indices.values[0])
        for _ in range(indices.array.ndim):
            taken = taken.unsqueeze(axis)
        return taken
    index = indices.tensor(data.device) if isinstance(indices, Small) else indices
    index = from_end(index, data.shape[axis])
    taken = data.index_select(axis, index.reshape(-1))
    return (
        taken
        if index.dim() == 1
        else taken.reshape(*data.shape[:axis], *index.shape, *data.shape[axis + 1 :])
    )


@operator("GatherElements")
def gather_elements(data: Tensor, indices: Tensor, *, axis: int = 0) -> Tensor:
    """The elements of `data` whose place along one axis is given for each element of the result."""
    return torch.gather(data, axis, from_end(indices, data.shape[axis]))


@operator("GatherND")
def gather_nd(data: Tensor, indices: Tensor, *, batch_dims: int = 0) -> Tensor:
    """The slices of `data` at index tuples that lie along the last axis of `indices`."""
    return data[index_tuple(data, indices, batch_dims)]


@operator("Compress")
def compress(data: Tensor, condition: Tensor, *, axis: int | None = None) -> Tensor:
    """The slices of `data` for which the condition holds."""
    if axis is None:
        data, axis = data.reshape(-1), 0
    index = condition.nonzero().reshape(-1)
    return data.index_select(axis, index)


def from_end(index: Tensor, size: Any) -> Tensor:
    """Negative indices counted from the end, as int64."""
    index = index.long()
    return torch.where(index < 0, index + size, index)


def index_tuple(data: Tensor, indices: Tensor, batch_dims: int = 0) -> tuple[Tensor, ...]:
    """`indices` [..., k] as k index tensors for `data`,
    those of `batch_dims` leading axes before them."""
    outer = indices.dim() - 1
    batches = [
        torch.arange(data.shape[i], device=data.device).reshape(
            [-1 if j == i else 1 for j in range(outer)]
        )
        for i in range(batch_dims)
    ]
    parts = indices.unbind(-1)
    return (*batches, *(from_end(part, data.shape[batch_dims + i]) for i, part in enumerate(parts)))
