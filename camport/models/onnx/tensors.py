"""Tensors of a file: checked against what is really there before anything is allocated,
then read."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from camport.errors import ModelError
from camport.models.onnx.external import External
from camport.models.onnx.types import torch_dtype

# where a tensor without raw bytes keeps its numbers, by ONNX type number
_FIELDS = {
    1: "float_data",
    7: "int64_data",
    11: "double_data",
    12: "uint64_data",
    13: "uint64_data",
}
_BYTES = {1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8, 16: 2}
_NUMPY: dict[int, Any] = {
    1: np.float32,
    2: np.uint8,
    3: np.int8,
    4: np.uint16,
    5: np.int16,
    6: np.int32,
    7: np.int64,
    9: np.bool_,
    10: np.float16,
    11: np.float64,
    12: np.uint32,
    13: np.uint64,
    16: np.uint16,  # numpy has no bfloat16; the bits are read as such below
}


def check_tensor(tensor: Any, folder: Path, where: str) -> None:
    """Refuses a tensor whose claimed sizes are not what the file stores.

    Raises:
        ModelError: names the tensor, what it claims and what is there.
    """
    name = f"{where}: tensor {tensor.name!r}"
    kind = tensor.data_type
    try:
        torch_dtype(kind)
    except ModelError as error:
        raise ModelError(f"{name}: {error}") from None
    if any(size < 0 for size in tensor.dims):
        raise ModelError(f"{name} has sizes {list(tensor.dims)}; none can be below 0")
    count = math.prod(tensor.dims)
    wanted = count * _BYTES[kind]
    if _is_external(tensor):
        External.of(tensor, folder, name).check(wanted)
        return
    if tensor.HasField("raw_data"):
        found, unit, wanted_units = len(tensor.raw_data), "bytes", wanted
    else:
        found, unit, wanted_units = (
            len(getattr(tensor, _FIELDS.get(kind, "int32_data"))),
            "numbers",
            count,
        )
    if found != wanted_units:
        raise ModelError(
            f"{name} claims sizes {list(tensor.dims)}, {wanted_units} {unit}, but the file stores"
            f" {found}; it is damaged"
        )


def read_tensor(tensor: Any, folder: Path, where: str) -> Tensor:
    """The tensor; `check_tensor` must have passed."""
    kind, dims = tensor.data_type, tuple(tensor.dims)
    if _is_external(tensor):
        external = External.of(tensor, folder, f"{where}: tensor {tensor.name!r}")
        array = external.read(math.prod(dims) * _BYTES[kind], _NUMPY[kind])
    elif tensor.HasField("raw_data"):
        array = np.frombuffer(
            tensor.raw_data, dtype=np.dtype(_NUMPY[kind]).newbyteorder("<")
        ).copy()
    elif kind in (10, 16):
        array = np.array(tensor.int32_data, dtype=np.uint16).view(_NUMPY[kind])
    else:
        array = np.array(getattr(tensor, _FIELDS.get(kind, "int32_data")), dtype=_NUMPY[kind])
    if kind in (4, 12, 13):
        array = array.astype({4: np.int32, 12: np.int64, 13: np.int64}[kind])
    found = torch.from_numpy(np.ascontiguousarray(array))
    return (found.view(torch.bfloat16) if kind == 16 else found).reshape(dims)


def _is_external(tensor: Any) -> bool:
    return tensor.data_location == 1
