"""Tensors made of sizes and numbers."""

from typing import Any

import torch
from torch import Tensor

from camport.models.onnx.registry import operator
from camport.models.onnx.small import Ints, Small, ints, number
from camport.models.onnx.types import torch_dtype


@operator("Constant")
def constant(
    *,
    value: Tensor | None = None,
    value_float: float | None = None,
    value_floats: list[float] | None = None,
    value_int: int | None = None,
    value_ints: list[int] | None = None,
) -> Tensor:
    """A constant, in one of the ways in which it may be written."""
    if value is not None:
        return value
    floats = value_float if value_float is not None else value_floats
    if floats is not None:
        return torch.tensor(floats, dtype=torch.float32)
    return torch.tensor(value_int if value_int is not None else value_ints, dtype=torch.int64)


@operator("ConstantOfShape", static=("shape",))
def constant_of_shape(
    shape: Ints, *, value: Small | Tensor | None = None, device: torch.device | None = None
) -> Tensor:
    """One number everywhere."""
    dtype = torch.float32 if value is None else value.dtype
    return torch.full(ints(shape), number(value, 0.0), dtype=dtype, device=device)


@operator("Range", static=("start", "limit", "delta"))
def range_(start: Any, limit: Any, delta: Any, *, device: torch.device | None = None) -> Tensor:
    """start, start + delta, ... up to but without limit."""
    dtype = start.dtype if isinstance(start, (Small, Tensor)) else torch.int64
    return torch.arange(number(start), number(limit), number(delta), dtype=dtype, device=device)


@operator("EyeLike")
def eye_like(x: Tensor, *, dtype: int | None = None, k: int = 0) -> Tensor:
    """1 on a diagonal, in the shape of x."""
    rows, columns = (torch.arange(n, device=x.device) for n in x.shape)
    diagonal = columns[None] - rows[:, None] == k
    return diagonal.to(x.dtype if dtype is None else torch_dtype(dtype))


@operator("OneHot", static=("depth",))
def one_hot(indices: Tensor, depth: Any, values: Tensor, *, axis: int = -1) -> Tensor:
    """values[1] at each index along a new axis, values[0] elsewhere."""
    size = int(number(depth))
    rank = indices.dim() + 1
    axis = axis % rank
    index = torch.remainder(indices.long(), size).unsqueeze(axis)
    inside = ((indices >= -size) & (indices < size)).unsqueeze(axis)
    places = torch.arange(size, device=indices.device).reshape(
        [-1 if i == axis else 1 for i in range(rank)]
    )
    return torch.where((index == places) & inside, values[1], values[0])


@operator("Trilu", static=("k",))
def triangle(x: Tensor, k: Any = None, *, upper: int = 1) -> Tensor:
    """The upper or lower triangle of x, moved by k diagonals."""
    shift = int(number(k, 0))
    return x.triu(shift) if upper else x.tril(shift)
