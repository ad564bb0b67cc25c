"""The gradient of max pooling, two spatial axes, and its two ONNX forms.

ONNX Runtime's pooling with indices is twenty times slower than its pooling without, and adding up
what is scattered is slow too. Where windows overlap at every place (stride 1, "same" padding), the
windows' maxima tell instead of indices: rows first, then columns, since the maximum of a window is
the maximum of its rows' maxima, and the first of equal ones is found in the same order.

Along one axis, r the values and y[o] = max r[o - p ... o + p], the gradient of y[o] goes to the
first r[o + j] that equals it. For each j in turn

    eq[i] = [r[i] = y[i - j]],  c[i] = rest[i - j] eq[i],  r̄ += c,  rest[o] -= c[o + j]

so that `rest` is what no earlier place took. All of it is written with operators that keep ONNX
Runtime's blocked layout: the shifts are depthwise convolutions with one tap, and 1 - 1e30 (y - r),
held in [0, 1], tells equals.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from camport.export.operators.masks import STEEP
from camport.export.operators.registry import constant, own_operator

BLOCK = 4
"""Channels must be a multiple of this for ONNX Runtime's fast depthwise convolution."""


def overlapping(
    kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int]
) -> bool:
    """Whether there is a window around every place."""
    same = all(k % 2 == 1 and p == k // 2 for k, p in zip(kernel, padding, strict=True))
    return same and all(n == 1 for n in (*stride, *dilation))


def by_maxima(op: Any, gradient: Any, x: Any, channels: int, kernel: Sequence[int]) -> Any:
    """The gradient with stride 1 and "same" padding,
    by comparing with the maxima of rows and of windows."""
    (height, width), (up, left) = kernel, (n // 2 for n in kernel)
    rows, _ = op.MaxPool(x, kernel_shape=[1, width], pads=[0, left, 0, left])
    windows, _ = op.MaxPool(rows, kernel_shape=[height, 1], pads=[up, 0, up, 0])
    by_rows = _along(_Shifts(op, x, channels, 0, height), gradient, rows, windows)
    return _along(_Shifts(op, x, channels, 1, width), by_rows, x, rows)


def _along(shifted: "_Shifts", gradient: Any, values: Any, maxima: Any) -> Any:
    """The gradient of maxima over the places of one axis."""
    op, kernel = shifted.op, shifted.kernel
    total, rest = None, gradient
    for place in range(kernel):
        j = place - kernel // 2
        if place + 1 == kernel:
            taken = shifted(rest, -j, 1.0)
        else:
            equal = op.HardSigmoid(op.Add(shifted(maxima, -j, -1.0), values), alpha=STEEP, beta=1.0)
            taken = op.Mul(shifted(rest, -j, 1.0), equal)
            rest = op.Add(shifted(taken, j, -1.0), rest)
        total = taken if total is None else op.Add(taken, total)
    return total


@dataclass(frozen=True)
class _Shifts:
    """Moves tensors of so many channels along one spatial axis, by at most half a kernel;
    `like` has their type."""

    op: Any
    like: Any
    channels: int
    axis: int
    kernel: int

    def __call__(self, x: Any, by: int, factor: float) -> Any:
        """factor · x[i + by], 0 from outside."""
        if by == 0 and factor == 1:
            return x
        shape, pads, place, half = [1, 1], [0, 0, 0, 0], 0, self.kernel // 2
        if by:
            shape[self.axis], place = self.kernel, half + by
            pads[self.axis] = pads[self.axis + 2] = half
        weight = one_tap(self.op, self.channels, shape, place, factor, self.like)
        return self.op.Conv(x, weight, group=self.channels, kernel_shape=shape, pads=pads)


def one_tap(
    op: Any, channels: int, shape: Sequence[int], place: int, factor: float, like: Any
) -> Any:
    """The weight of a depthwise convolution: `factor` at one place of the kernel,
    for every channel."""
    weight = np.zeros((channels, shape[0] * shape[1]), np.float32)
    weight[:, place] = factor
    return op.CastLike(constant(op, weight.reshape(channels, 1, *shape)), like)


def by_indices(
    op: Any,
    gradient: Any,
    x: Any,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool,
) -> Any:
    """The gradient of any pooling: added up where the indices say,
    which count through the whole tensor."""
    _, indices = op.MaxPool(
        x,
        kernel_shape=list(kernel),
        strides=list(stride),
        pads=[*padding, *padding],
        dilations=list(dilation),
        ceil_mode=int(ceil_mode),
    )
    flat = op.Constant(value_ints=[-1])
    zeros = op.CastLike(
        op.Expand(op.Constant(value_floats=[0.0]), op.Reshape(op.Size(x), flat)), gradient
    )
    total = op.ScatterElements(
        zeros, op.Reshape(indices, flat), op.Reshape(gradient, flat), axis=0, reduction="add"
    )
    return op.Reshape(total, op.Shape(x))


def max_pool_grad_form(op: Any, gradient: Any, x: Any, indices: Any, *geometry: Any) -> Any:
    """By maxima where windows overlap at every place, else by indices."""
    channels = x.shape[1] if x.shape is not None else None
    if isinstance(channels, int) and not channels % BLOCK and overlapping(*geometry[:4]):
        return by_maxima(op, gradient, x, channels, geometry[0])
    return by_indices(op, gradient, x, *geometry)


@own_operator(
    "max_pool_grad(Tensor gradient, Tensor x, Tensor indices, int[] kernel, int[] stride, int[]"
    " padding, int[] dilation, bool ceil_mode) -> Tensor",
    lambda gradient, x, *rest: x.new_empty(x.shape),
    max_pool_grad_form,
    in_single=True,  # a mask made from 1e30 (x - y) has no float16 form
)
def max_pool_grad(
    gradient: Tensor,
    x: Tensor,
    indices: Tensor,
    kernel: list[int],
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    ceil_mode: bool,
) -> Tensor:
    """x̄[i] = Σ g[o] over the windows o whose maximum, the first of equal ones, stands at i.

    The indices say where, but the maxima themselves do as well.
    """
    geometry = (kernel, stride, padding, dilation, ceil_mode)
    return torch.ops.aten.max_pool2d_with_indices_backward(gradient, x, *geometry, indices)
