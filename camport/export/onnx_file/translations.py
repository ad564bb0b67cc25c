"""ONNX forms of the operators in `camport.export.operators`.

Masks are written with HardSigmoid instead of Greater, Where or Clip: ONNX Runtime keeps its blocked channel layout
through it, which halves the reorders of a convolutional backward pass.
"""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from onnxscript.values import Opset

from camport.export import operators as operators
from camport.export.onnx_file import pool_forms

STEEP = 1e30
"""HardSigmoid's slope for a mask: max(0, min(1, 1e30 y)) is 0 or 1 for every y a network computes."""

NEARLY_ZERO = -1e-3
"""HardSigmoid's offset for a mask: nothing next to 1e30 y, and 0 where y is 0. OpenVINO takes a plain 0 for unset and
adds 0.5; a smaller number would become 0 in half precision."""


class Translations:
    """The ONNX forms, written for one version of the standard operators.

    Args:
        opset: that version, at least 18.
    """

    def __init__(self, opset: int) -> None:
        self.op: Any = Opset("", opset)

    def relu_grad(self, gradient: Any, result: Any) -> Any:
        """ḡ · min(1, max(0, 1e30 y)); in float16, which ends at 65504, ḡ · sign(max(0, y))."""
        if result.dtype == ir.DataType.FLOAT16:
            return self.op.Mul(gradient, self.op.Sign(self.op.Relu(result)))
        return self.op.Mul(gradient, self.op.HardSigmoid(result, alpha=STEEP, beta=NEARLY_ZERO))

    def silu_grad(self, gradient: Any, x: Any) -> Any:
        """ḡ · (σ + x σ (1 - σ)); 1 - σ as HardSigmoid with slope -1."""
        s = self.op.Sigmoid(x)
        return self.op.Mul(
            gradient, self.op.Add(s, self.op.Mul(self.op.Mul(x, s), self.op.HardSigmoid(s, alpha=-1.0, beta=1.0)))
        )

    def hardswish_grad(self, gradient: Any, x: Any) -> Any:
        """ḡ · (q + (1 - trunc(q))/2) with q = clip(x/3, -1, 1): 0, x/3 + 1/2 and 1 in turn."""
        q = self.op.Clip(self.op.Mul(x, self._scalar(1 / 3, x)), self._scalar(-1.0, x), self._scalar(1.0, x))
        ends = self.op.CastLike(self.op.Cast(q, to=ir.DataType.INT32), x)
        return self.op.Mul(gradient, self.op.Add(q, self.op.HardSigmoid(ends, alpha=-0.5, beta=0.5)))

    def window_grad(self, gradient: Any, x: Any, low: float, high: float) -> Any:
        """ḡ · min(1, max(0, 1e30 (x - low))) · min(1, max(0, 1e30 (high - x))); in float16 as `relu_grad`."""
        if x.dtype == ir.DataType.FLOAT16:
            below, above = self.op.Sub(self._scalar(high, x), x), self.op.Sub(x, self._scalar(low, x))
            return self.relu_grad(self.relu_grad(gradient, above), below)
        above = self.op.HardSigmoid(x, alpha=STEEP, beta=-STEEP * low if low else NEARLY_ZERO)
        below = self.op.HardSigmoid(x, alpha=-STEEP, beta=STEEP * high if high else NEARLY_ZERO)
        return self.op.Mul(self.op.Mul(gradient, above), below)

    def max_pool_grad(self, gradient: Any, x: Any, indices: Any, *geometry: Any) -> Any:
        """See `camport.export.onnx_file.pool_forms`."""
        channels = x.shape[1] if x.shape is not None else None
        if isinstance(channels, int) and not channels % pool_forms.BLOCK and pool_forms.overlapping(*geometry[:4]):
            return pool_forms.by_maxima(self.op, gradient, x, channels, geometry[0])
        return pool_forms.by_indices(self.op, gradient, x, *geometry)

    def zero_insert(self, gradient: Any, stride: Sequence[int], size: Sequence[int]) -> Any:
        """Nearest resampling by the stride times a constant mask of ones at its multiples."""
        height, width = (int(n) for n in gradient.shape[2:])
        room = (height * stride[0], width * stride[1])
        repeated = self.op.Resize(
            gradient,
            None,
            self.op.Constant(value_floats=[1.0, 1.0, float(stride[0]), float(stride[1])]),
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        )
        mask = np.zeros((1, 1, *room), np.float32)
        mask[..., :: stride[0], :: stride[1]] = 1
        result = self.op.Mul(repeated, self.op.CastLike(self.op.Constant(value=ir.tensor(mask)), gradient))
        if any(n < m for n, m in zip(size, room, strict=True)):
            ends = [min(n, m) for n, m in zip(size, room, strict=True)]
            result = self.op.Slice(
                result,
                self.op.Constant(value_ints=[0, 0]),
                self.op.Constant(value_ints=ends),
                self.op.Constant(value_ints=[2, 3]),
            )
        if any(n > m for n, m in zip(size, room, strict=True)):
            after = [max(0, n - m) for n, m in zip(size, room, strict=True)]
            result = self.op.Pad(result, self.op.Constant(value_ints=[0, 0, 0, 0, 0, 0, *after]))
        return result

    def resize(
        self, x: Any, size: Sequence[Any], mode: str, align_corners: bool, scales: Sequence[float] | None = None
    ) -> Any:
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
            return self.op.Resize(x, None, self.op.Constant(value_floats=[1.0, 1.0, *scales]), **options)
        return self.op.Resize(x, None, None, self._sizes(x, size), **options)

    def _sizes(self, x: Any, size: Sequence[Any]) -> Any:
        """The result's whole shape: batch and channels of x, then `size`."""
        lead = self.op.Shape(x, start=0, end=2)
        if all(isinstance(n, int) for n in size):
            tail = self.op.Constant(value_ints=list(size))
        else:
            minus = self.op.Constant(value_ints=[-1])
            parts = [
                self.op.Constant(value_ints=[n]) if isinstance(n, int) else self.op.Reshape(n, minus) for n in size
            ]
            tail = parts[0] if len(parts) == 1 else self.op.Concat(*parts, axis=0)
        return self.op.Concat(lead, tail, axis=0)

    def _scalar(self, value: float, like: Any) -> Any:
        return self.op.CastLike(self.op.Constant(value_float=value), like)


def table(opset: int = 20) -> dict[Callable, Callable]:
    """Operator -> its ONNX form at that version of the standard operators, as torch.onnx takes it."""
    own, forms = torch.ops.camport, Translations(opset)
    found: dict[Callable, Callable] = {
        own.relu_grad.default: forms.relu_grad,
        own.silu_grad.default: forms.silu_grad,
        own.hardswish_grad.default: forms.hardswish_grad,
        own.window_grad.default: forms.window_grad,
        own.max_pool_grad.default: forms.max_pool_grad,
        own.zero_insert.default: forms.zero_insert,
        own.resize.default: forms.resize,
    }
    return {operator: _function(form) for operator, form in found.items()}


def _function(method: Callable) -> Callable:
    """A method as a plain function: torch.onnx writes attributes on it."""

    @wraps(method)
    def form(*args: Any, **kwargs: Any) -> Any:
        return method(*args, **kwargs)

    return form
