"""ONNX forms of the operators in `camport.export.operators`.

Masks are written with HardSigmoid instead of Greater, Where or Clip: ONNX Runtime keeps its blocked channel layout
through it, which halves the reorders of a convolutional backward pass.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from onnxscript import opset20 as op

from camport.export import operators as operators

STEEP = 1e30
"""HardSigmoid's slope for a mask: max(0, min(1, 1e30 y)) is 0 or 1 for every y a network computes."""

NEARLY_ZERO = -1e-3
"""HardSigmoid's offset for a mask: nothing next to 1e30 y, and 0 where y is 0. OpenVINO takes a plain 0 for unset and
adds 0.5; a smaller number would become 0 in half precision."""


def relu_grad(gradient: Any, result: Any) -> Any:
    """ḡ · min(1, max(0, 1e30 y))."""
    return op.Mul(gradient, op.HardSigmoid(result, alpha=STEEP, beta=NEARLY_ZERO))


def silu_grad(gradient: Any, x: Any) -> Any:
    """ḡ · (σ + x σ (1 - σ)); 1 - σ as HardSigmoid with slope -1."""
    s = op.Sigmoid(x)
    return op.Mul(gradient, op.Add(s, op.Mul(op.Mul(x, s), op.HardSigmoid(s, alpha=-1.0, beta=1.0))))


def hardswish_grad(gradient: Any, x: Any) -> Any:
    """ḡ · (q + 1/2 - trunc(q)/2) with q = clip(x/3, -1, 1): 0, x/3 + 1/2 and 1 in turn."""
    q = op.Clip(op.Mul(x, _scalar(1 / 3, x)), _scalar(-1.0, x), _scalar(1.0, x))
    half = _scalar(0.5, x)
    ends = op.CastLike(op.Cast(q, to=ir.DataType.INT32), x)
    return op.Mul(gradient, op.Add(op.Sub(q, op.Mul(ends, half)), half))


def zero_insert(gradient: Any, stride: Sequence[int], size: Sequence[int]) -> Any:
    """Nearest resampling by the stride times a constant mask of ones at its multiples."""
    height, width = (int(n) for n in gradient.shape[2:])
    room = (height * stride[0], width * stride[1])
    repeated = op.Resize(
        gradient,
        None,
        op.Constant(value_floats=[1.0, 1.0, float(stride[0]), float(stride[1])]),
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )
    mask = np.zeros((1, 1, *room), np.float32)
    mask[..., :: stride[0], :: stride[1]] = 1
    result = op.Mul(repeated, op.CastLike(op.Constant(value=ir.tensor(mask)), gradient))
    if any(n < m for n, m in zip(size, room, strict=True)):
        ends = [min(n, m) for n, m in zip(size, room, strict=True)]
        result = op.Slice(
            result, op.Constant(value_ints=[0, 0]), op.Constant(value_ints=ends), op.Constant(value_ints=[2, 3])
        )
    if any(n > m for n, m in zip(size, room, strict=True)):
        after = [max(0, n - m) for n, m in zip(size, room, strict=True)]
        result = op.Pad(result, op.Constant(value_ints=[0, 0, 0, 0, 0, 0, *after]))
    return result


def resize(x: Any, size: Sequence[Any], mode: str, align_corners: bool, scales: Sequence[float] | None = None) -> Any:
    """One Resize node."""
    coordinates = "align_corners" if align_corners else "half_pixel"
    options: dict[str, Any] = {"mode": "linear"}
    if mode == "bicubic":
        options = {"mode": "cubic", "cubic_coeff_a": -0.75}
    elif mode == "nearest":
        options, coordinates = {"mode": "nearest", "nearest_mode": "floor"}, "asymmetric"
    elif mode == "nearest-exact":
        options = {"mode": "nearest", "nearest_mode": "round_prefer_ceil"}
    options["coordinate_transformation_mode"] = coordinates
    if scales is not None:
        return op.Resize(x, None, op.Constant(value_floats=[1.0, 1.0, *scales]), **options)
    return op.Resize(x, None, None, _sizes(x, size), **options)


def _sizes(x: Any, size: Sequence[Any]) -> Any:
    """The result's whole shape: batch and channels of x, then `size`."""
    lead = op.Shape(x, start=0, end=2)
    if all(isinstance(n, int) for n in size):
        tail = op.Constant(value_ints=list(size))
    else:
        minus = op.Constant(value_ints=[-1])
        parts = [op.Constant(value_ints=[n]) if isinstance(n, int) else op.Reshape(n, minus) for n in size]
        tail = parts[0] if len(parts) == 1 else op.Concat(*parts, axis=0)
    return op.Concat(lead, tail, axis=0)


def _scalar(value: float, like: Any) -> Any:
    return op.CastLike(op.Constant(value_float=value), like)


def table() -> dict[Callable, Callable]:
    """Operator -> its ONNX form, as torch.onnx takes it."""
    own = torch.ops.camport
    return {
        own.relu_grad.default: relu_grad,
        own.silu_grad.default: silu_grad,
        own.hardswish_grad.default: hardswish_grad,
        own.zero_insert.default: zero_insert,
        own.resize.default: resize,
    }
