"""Pooling."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from camport.errors import ModelError
from camport.models.onnx.registry import operator
from camport.models.onnx.windows import Window, window

_MAX: dict[int, Any] = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
_AVERAGE: dict[int, Any] = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


@operator("MaxPool")
def max_pool(
    x: Tensor,
    *,
    kernel_shape: Sequence[int],
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    storage_order: int = 0,
    strides: Sequence[int] | None = None,
) -> Tensor:
    """The maximum in each window."""
    frame = window(x.shape[2:], kernel_shape, strides, dilations, pads, auto_pad)
    padding = frame.before
    if not _torch_pads(frame):
        x, padding = F.pad(x, frame.pads, value=-torch.inf), (0,) * len(padding)
    function = _function(_MAX, frame)
    return function(
        x, frame.kernel, frame.stride, padding, frame.dilation, ceil_mode=bool(ceil_mode)
    )


@operator("AveragePool")
def average_pool(
    x: Tensor,
    *,
    kernel_shape: Sequence[int],
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    count_include_pad: int = 0,
    dilations: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Tensor:
    """The mean of each window, over its elements inside the image or, with `count_include_pad`,
    over all."""
    frame = window(x.shape[2:], kernel_shape, strides, dilations, pads, auto_pad)
    if all(d == 1 for d in frame.dilation) and _torch_pads(frame):
        function = _function(_AVERAGE, frame)
        return function(
            x, frame.kernel, frame.stride, frame.before, bool(ceil_mode), bool(count_include_pad)
        )
    inside = torch.ones_like(x[:1, :1])
    weights = _padded(inside, frame, 1.0 if count_include_pad else 0.0, ceil_mode)
    return _sum_pool(_padded(x, frame, 0.0, ceil_mode), frame) / _sum_pool(weights, frame)


@operator("LpPool")
def lp_pool(
    x: Tensor,
    *,
    kernel_shape: Sequence[int],
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Sequence[int] | None = None,
    p: int = 2,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Tensor:
    """The p-norm of each window."""
    frame = window(x.shape[2:], kernel_shape, strides, dilations, pads, auto_pad)
    return _sum_pool(_padded(x.abs().pow(p), frame, 0.0, ceil_mode), frame).pow(1 / p)


@operator("GlobalAveragePool")
def global_average_pool(x: Tensor) -> Tensor:
    """The mean over space."""
    return x.mean(tuple(range(2, x.dim())), keepdim=True)


@operator("GlobalMaxPool")
def global_max_pool(x: Tensor) -> Tensor:
    """The maximum over space; as a pool, whose gradient goes to one place, as in training."""
    frame = window(x.shape[2:], x.shape[2:], x.shape[2:], None, None, "NOTSET")
    return _function(_MAX, frame)(x, frame.kernel, frame.stride)


def _function(table: dict[int, Any], frame: Window) -> Any:
    if len(frame.kernel) not in table:
        raise ModelError(f"pooling over {len(frame.kernel)} axes is not imported; 1, 2 and 3 are")
    return table[len(frame.kernel)]


def _torch_pads(frame: Window) -> bool:
    """Whether torch's pooling takes these paddings: the same on both sides,
    and at most half the kernel."""
    return frame.even and all(2 * p <= k for p, k in zip(frame.before, frame.kernel, strict=True))


def _padded(x: Tensor, frame: Window, value: float, ceil_mode: int) -> Tensor:
    """x with `value` around it; behind that, zeros up to the end of the last window that starts
    inside."""
    padded = F.pad(x, frame.pads, value=value)
    if not ceil_mode:
        return padded
    rest = []
    for axis, (k, s, d) in reversed(
        list(enumerate(zip(frame.kernel, frame.stride, frame.dilation, strict=True)))
    ):
        size, reach = padded.shape[2 + axis], d * (k - 1) + 1
        count = -(-(size - reach) // s) + 1
        if (count - 1) * s >= x.shape[2 + axis] + frame.before[axis]:
            count -= 1
        rest += [0, max((count - 1) * s + reach - size, 0)]
    return F.pad(padded, rest)


def _sum_pool(x: Tensor, frame: Window) -> Tensor:
    """The sum of each window: an axis at a time, the shifted images added."""
    for axis, (k, s, d) in enumerate(zip(frame.kernel, frame.stride, frame.dilation, strict=True)):
        count = (x.shape[2 + axis] - d * (k - 1) - 1) // s + 1
        shifted = [_every(x, 2 + axis, d * i, count, s) for i in range(k)]
        x = shifted[0]
        for other in shifted[1:]:
            x = x + other
    return x


def _every(x: Tensor, axis: int, start: int, count: Any, step: int) -> Tensor:
    window_: Any = (slice(None),) * axis + (slice(start, start + (count - 1) * step + 1, step),)
    return x[window_]
