"""Inputs and outputs of a graph, as it declares them."""

from dataclasses import dataclass
from typing import Any

import numpy as np

_DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(uint8)": "uint8",
    "tensor(bool)": "bool",
}


@dataclass(frozen=True)
class Port:
    """One input or output of a graph.

    Args:
        name: e.g. "images".
        dtype: numpy's name, e.g. "float32"; the engine's own where numpy has none.
        shape: an int where the axis is static, its name (or "?") where it is dynamic.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]

    @classmethod
    def of(cls, argument: Any) -> "Port":
        """From onnxruntime's NodeArg."""
        shape = tuple(
            axis if isinstance(axis, int) and axis >= 0 else axis or "?" for axis in argument.shape
        )
        return cls(argument.name, _DTYPES.get(argument.type, argument.type), tuple(shape))

    @property
    def is_float(self) -> bool:
        """Whether it holds floating-point numbers."""
        return self.dtype.startswith("float")

    @property
    def is_pixels(self) -> bool:
        """Whether it holds pictures as they are, uint8 [b,h,w,3],
        which the graph prepares itself."""
        return self.dtype == "uint8" and len(self.shape) == 4

    def __str__(self) -> str:
        return f"{self.name} {self.dtype} [{','.join(str(axis) for axis in self.shape)}]"


def shape_of(array: np.ndarray) -> str:
    """dtype and shape as the messages write them, e.g. `uint8 [480,640,3]`."""
    return f"{array.dtype} [{','.join(str(n) for n in array.shape)}]"
