"""Convolution and transposed convolution in one, two and three dimensions."""

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from camport.errors import ModelError
from camport.models.onnx.registry import operator
from camport.models.onnx.windows import window

_CONV: dict[int, Any] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_TRANSPOSED: dict[int, Any] = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


@operator("Conv")
def conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Tensor:
    """Convolution; uneven padding is laid around x first."""
    kernel = weight.shape[2:]
    frame = window(x.shape[2:], kernel, strides, dilations, pads, auto_pad)
    padding = frame.before
    if not frame.even:
        x, padding = F.pad(x, frame.pads), (0,) * len(kernel)
    return _function(_CONV, len(kernel))(
        x, weight, bias, frame.stride, padding, frame.dilation, group
    )


@operator("ConvTranspose")
def conv_transpose(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    output_padding: Sequence[int] | None = None,
    output_shape: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Tensor:
    """Transposed convolution: pads are cut off the full result, output_padding is added behind."""
    kernel = tuple(weight.shape[2:])
    axes = len(kernel)
    frame = window(x.shape[2:], kernel, strides, dilations, pads, "NOTSET")
    extra = tuple(output_padding or (0,) * axes)
    before, after = frame.before, frame.after
    full = [
        s * (n - 1) + e + d * (k - 1) + 1
        for n, s, e, d, k in zip(
            x.shape[2:], frame.stride, extra, frame.dilation, kernel, strict=True
        )
    ]
    wanted = list(output_shape)[-axes:] if output_shape else None
    if wanted is None and auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        wanted = [n * s for n, s in zip(x.shape[2:], frame.stride, strict=True)]
    if wanted is not None:
        totals = [f - w for f, w in zip(full, wanted, strict=True)]
        halves, rests = tuple(t // 2 for t in totals), tuple(t - t // 2 for t in totals)
        # the specification: with SAME_UPPER the odd one lies at the end, else at the beginning
        before, after = (halves, rests) if auto_pad == "SAME_UPPER" else (rests, halves)
    function = _function(_TRANSPOSED, axes)
    if before == after and all(
        e < max(s, d) for e, s, d in zip(extra, frame.stride, frame.dilation, strict=True)
    ):
        return function(x, weight, bias, frame.stride, before, extra, group, frame.dilation)
    y = function(x, weight, bias, frame.stride, 0, 0, group, frame.dilation)
    for axis in range(axes):
        length = full[axis] - before[axis] - after[axis]
        room = y.shape[2 + axis] - before[axis]
        if length > room:
            y = F.pad(y, [0, 0] * (axes - 1 - axis) + [0, length - room])
        y = y.narrow(2 + axis, before[axis], length)
    return y


def _function(table: dict[int, Any], axes: int) -> Any:
    if axes not in table:
        raise ModelError(f"convolution over {axes} axes is not imported; 1, 2 and 3 are")
    return table[axes]
