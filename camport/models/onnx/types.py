"""ONNX's tensor types as torch's."""

import torch

from camport.errors import ModelError

# numbers of onnx.TensorProto.DataType, which the format fixes for ever;
# so onnx need not be imported here
_DTYPES: dict[int, torch.dtype] = {
    1: torch.float32,
    2: torch.uint8,
    3: torch.int8,
    5: torch.int16,
    6: torch.int32,
    7: torch.int64,
    9: torch.bool,
    10: torch.float16,
    11: torch.float64,
    16: torch.bfloat16,
    # torch computes with few unsigned types; what these hold in networks fits the next wider one
    4: torch.int32,
    12: torch.int64,
    13: torch.int64,
}


def torch_dtype(number: int) -> torch.dtype:
    """The torch type of an ONNX type number; ModelError for what networks of numbers do not
    hold."""
    if number not in _DTYPES:
        raise ModelError(
            f"tensor type {number} of ONNX is not imported; floats, integers and booleans are"
        )
    return _DTYPES[number]
