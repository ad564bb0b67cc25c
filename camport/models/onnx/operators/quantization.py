"""Quantisation, computed in floating point.

Rounding has no derivative. Where a network was quantised, its gradient is taken as if rounding were
the identity inside the range (straight through), as quantisation-aware training does; a saturated
value passes no gradient.
"""

import torch
from torch import Tensor

from camport.models.onnx.registry import operator


@operator("QuantizeLinear")
def quantize_linear(
    x: Tensor,
    scale: Tensor,
    zero_point: Tensor | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
    precision: int = 0,
    saturate: int = 1,
) -> Tensor:
    """round(x / scale) + zero point, saturated; whole numbers, but in the type of x."""
    info = torch.iinfo(torch.uint8 if zero_point is None else zero_point.dtype)
    scaled = x / _along(scale, x, axis)
    rounded = scaled + (scaled.round() - scaled).detach()
    if zero_point is not None:
        rounded = rounded + _along(zero_point, x, axis).to(x.dtype)
    return rounded.clamp(info.min, info.max)


@operator("DequantizeLinear")
def dequantize_linear(
    x: Tensor,
    scale: Tensor,
    zero_point: Tensor | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
) -> Tensor:
    """(x - zero point) · scale."""
    values = x.to(scale.dtype)
    if zero_point is not None:
        values = values - _along(zero_point, x, axis).to(scale.dtype)
    return values * _along(scale, x, axis)


def _along(parameter: Tensor, x: Tensor, axis: int) -> Tensor:
    """A number as it is; a number an index along `axis` in a shape that broadcasts."""
    if parameter.numel() == 1:
        return parameter.reshape(())
    return parameter.reshape([-1 if i == axis % x.dim() else 1 for i in range(x.dim())])
