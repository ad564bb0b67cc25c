"""Tensors of few numbers that Python knows: sizes, axes, indices, scales.

Why not torch tensors: a size read back from a tensor is a number that a tracer cannot see, so the
batch would be baked into the graph. Here the elements stay Python numbers or the tracer's symbols,
from `Shape` to `Reshape`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Small:
    """A small tensor of Python numbers.

    Attributes:
        array: the elements, an array of objects: int, float, bool, SymInt or SymFloat.
        dtype: type that it has as a tensor.
    """

    array: np.ndarray
    dtype: torch.dtype = torch.int64

    @classmethod
    def of(cls, values: Any, dtype: torch.dtype = torch.int64) -> "Small":
        """A number or a flat sequence of numbers; numpy must not look into symbols,
        so they are set one by one."""
        if isinstance(values, np.ndarray):
            return cls(values.astype(object), dtype)
        if isinstance(values, (list, tuple, torch.Size)):
            array = np.empty(len(values), dtype=object)
            for i, value in enumerate(values):
                array[i] = value
            return cls(array, dtype)
        scalar = np.empty((), dtype=object)
        scalar[()] = values
        return cls(scalar, dtype)

    @classmethod
    def from_tensor(cls, tensor: Tensor) -> "Small":
        """The elements of a constant."""
        array = np.empty(tuple(tensor.shape), dtype=object)
        array.reshape(-1)[:] = tensor.reshape(-1).tolist()
        return cls(array, tensor.dtype)

    @property
    def values(self) -> list[Any]:
        """The elements in a row."""
        return list(self.array.reshape(-1))

    def tensor(self, device: torch.device | None = None) -> Tensor:
        """As a tensor; symbols stay symbols."""
        values = self.values
        if all(type(v) in (int, float, bool) for v in values):
            return torch.tensor(values, dtype=self.dtype, device=device).reshape(self.array.shape)
        rows = [torch.scalar_tensor(v, dtype=self.dtype, device=device) for v in values]
        return torch.stack(rows).reshape(self.array.shape)


Ints = Small | Tensor | Sequence[int]
"""Integers that an operator needs as numbers: an attribute (list), a constant or symbolic input,
or a live tensor."""


def ints(value: Ints) -> list[Any]:
    """The integers in a row. Of a live tensor they are read back, which no tracer can follow."""
    if isinstance(value, Small):
        return value.values
    return [int(v) for v in (value.reshape(-1).tolist() if isinstance(value, Tensor) else value)]


def optional_ints(value: Ints | None) -> list[Any] | None:
    """`ints`, or None where the operator was given nothing."""
    return None if value is None else ints(value)


def number(value: Any, default: Any = None) -> Any:
    """One Python number out of an attribute or a one-element input;
    `default` where nothing was given."""
    if value is None:
        return default
    if isinstance(value, Small):
        return value.values[0]
    return value.item() if isinstance(value, Tensor) else value


def product(values: Iterable[Any]) -> Any:
    """The product; 1 of nothing."""
    result: Any = 1
    for value in values:
        result = result * value
    return result
