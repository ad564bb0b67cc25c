"""The arithmetic of shapes: the ONNX operators on `Small` values, by numpy on arrays of objects."""

import operator as op
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from camport.models.onnx.registry import small_operator
from camport.models.onnx.small import Ints, Small, ints, optional_ints, product
from camport.models.onnx.types import torch_dtype


def _elementwise(
    function: Callable[..., Any], *inputs: Small, dtype: torch.dtype | None = None
) -> Small:
    arrays = np.broadcast_arrays(*(i.array for i in inputs))
    result = np.empty(arrays[0].shape, dtype=object)
    flat = result.reshape(-1)
    for i, values in enumerate(zip(*(a.reshape(-1) for a in arrays), strict=True)):
        flat[i] = function(*values)
    return Small(result, dtype or inputs[0].dtype)


def _divide(a: Any, b: Any) -> Any:
    if isinstance(a, (float, torch.SymFloat)):
        return a / b
    # towards zero; sizes are not negative, and of symbols nothing may be asked
    return (
        -(-a // b) if isinstance(a, int) and isinstance(b, int) and (a < 0) != (b < 0) else a // b
    )


def _round(value: Any) -> Any:
    return float(round(value))


_BINARY: dict[str, Callable[..., Any]] = {
    "Add": op.add,
    "Sub": op.sub,
    "Mul": op.mul,
    "Div": _divide,
    "Mod": op.mod,
    "Pow": op.pow,
    "Min": torch.sym_min,
    "Max": torch.sym_max,
}
_COMPARE: dict[str, Callable[..., Any]] = {
    "Equal": op.eq,
    "Greater": op.gt,
    "GreaterOrEqual": op.ge,
    "Less": op.lt,
    "LessOrEqual": op.le,
    "And": lambda a, b: a and b,
    "Or": lambda a, b: a or b,
}
_UNARY: dict[str, Callable[..., Any]] = {
    "Neg": op.neg,
    "Abs": abs,
    "Sqrt": torch.sym_sqrt if hasattr(torch, "sym_sqrt") else lambda v: v**0.5,
    "Reciprocal": lambda v: 1 / v,
    "Floor": lambda v: torch.sym_float(np.floor(v) if isinstance(v, float) else torch.sym_int(v)),
    "Ceil": lambda v: torch.sym_float(np.ceil(v) if isinstance(v, float) else -torch.sym_int(-v)),
    "Round": _round,
    "Not": op.not_,
}


class _Elementwise:
    """One operator, element by element; a class, so that a model can be pickled."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, *inputs: Small, fmod: int = 0) -> Small:
        if self.name in _COMPARE:
            # a comparison of symbols is decided at once: sizes differ from -1,
            # 0 and 1 whatever they are
            return _elementwise(lambda *v: bool(_COMPARE[self.name](*v)), *inputs, dtype=torch.bool)
        return _elementwise((_BINARY | _UNARY)[self.name], *inputs)


for _name in _BINARY | _UNARY | _COMPARE:
    small_operator(_name)(_Elementwise(_name))


@small_operator("Identity")
def identity(x: Small) -> Small:
    """x."""
    return x


@small_operator("Where")
def where(condition: Small, a: Small, b: Small) -> Small:
    """a where the condition holds, else b."""
    return _elementwise(lambda c, x, y: x if c else y, condition, a, b, dtype=a.dtype)


@small_operator("Cast")
def cast(x: Small, *, to: int, saturate: int = 1, round_mode: str = "up") -> Small:
    """x in another type."""
    dtype = torch_dtype(to)
    if dtype.is_floating_point:
        return _elementwise(torch.sym_float, x, dtype=dtype)
    if dtype == torch.bool:
        return _elementwise(bool, x, dtype=dtype)
    return _elementwise(torch.sym_int, x, dtype=dtype)


@small_operator("Shape")
def shape(x: Small, *, start: int = 0, end: int | None = None) -> Small:
    """The shape of the shape."""
    return Small.of(list(x.array.shape)[start:end])


@small_operator("Gather")
def gather(data: Small, indices: Small, *, axis: int = 0) -> Small:
    """The elements at `indices`."""
    taken = np.take(data.array, indices.array.astype(np.int64), axis)
    return (
        Small(taken, data.dtype) if isinstance(taken, np.ndarray) else Small.of(taken, data.dtype)
    )


@small_operator("Slice")
def slice_(
    x: Small, starts: Ints, ends: Ints, axes: Ints | None = None, steps: Ints | None = None
) -> Small:
    """A range along each of some axes."""
    first, last = ints(starts), ints(ends)
    where_, step = (
        optional_ints(axes) or range(len(first)),
        optional_ints(steps) or [1] * len(first),
    )
    cuts: list[Any] = [slice(None) for _ in range(x.array.ndim)]
    for start, end, axis, by in zip(first, last, where_, step, strict=True):
        # numpy reads an end of -1 as the last element; in ONNX, backwards,
        # what lies before the first is very negative
        cuts[axis] = slice(start, None if by < 0 and end < -x.array.shape[axis] else end, by)
    return Small(x.array[tuple(cuts)], x.dtype)


@small_operator("Concat")
def concat(*parts: Small, axis: int = 0) -> Small:
    """The inputs joined."""
    return Small(np.concatenate([p.array for p in parts], axis), parts[0].dtype)


@small_operator("Split")
def split(
    x: Small,
    split: Ints | None = None,
    *,
    axis: int = 0,
    num_outputs: int | None = None,
    outputs: int = 1,
) -> tuple[Small, ...]:
    """Cuts an axis into parts."""
    sizes = optional_ints(split)
    if sizes is None:
        parts = num_outputs or outputs
        each = -(-x.array.shape[axis] // parts)
        sizes = [each] * (parts - 1)
    cuts = np.cumsum(sizes[: outputs - 1]) if sizes else np.zeros(0, np.int64)
    return tuple(Small(part, x.dtype) for part in np.split(x.array, cuts, axis))


@small_operator("Squeeze")
def squeeze(x: Small, axes: Ints | None = None) -> Small:
    """Drops axes of size 1."""
    chosen = optional_ints(axes)
    return Small(np.squeeze(x.array, tuple(chosen) if chosen else None), x.dtype)


@small_operator("Unsqueeze")
def unsqueeze(x: Small, axes: Ints) -> Small:
    """Inserts axes of size 1."""
    return Small(np.expand_dims(x.array, tuple(ints(axes))), x.dtype)


@small_operator("Reshape")
def reshape(x: Small, shape: Ints, *, allowzero: int = 0) -> Small:
    """x in another shape."""
    return Small(x.array.reshape(ints(shape)), x.dtype)


@small_operator("Transpose")
def transpose(x: Small, *, perm: Sequence[int] | None = None) -> Small:
    """The axes in another order."""
    return Small(x.array.transpose(perm), x.dtype)


@small_operator("Expand")
def expand(x: Small, shape: Ints) -> Small:
    """Broadcast against a shape."""
    wanted = np.broadcast_shapes(x.array.shape, tuple(ints(shape)))
    return Small(np.broadcast_to(x.array, wanted), x.dtype)


@small_operator("Tile")
def tile(x: Small, repeats: Ints) -> Small:
    """x repeated along each axis."""
    return Small(np.tile(x.array, ints(repeats)), x.dtype)


@small_operator("ReduceProd")
def reduce_product(
    x: Small, axes: Ints | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0
) -> Small:
    """The product of all elements."""
    result = Small.of(product(x.values), x.dtype)
    return Small(result.array.reshape((1,) * x.array.ndim), x.dtype) if keepdims else result


@small_operator("ReduceSum")
def reduce_sum(
    x: Small, axes: Ints | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0
) -> Small:
    """The sum of all elements."""
    result = Small.of(sum(x.values), x.dtype)
    return Small(result.array.reshape((1,) * x.array.ndim), x.dtype) if keepdims else result
