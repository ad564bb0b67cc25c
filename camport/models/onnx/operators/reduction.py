"""Reductions over axes; up to some opset the axes are an attribute, from there on an input."""

from collections.abc import Callable

import torch
from torch import Tensor

from camport.models.onnx.registry import operator
from camport.models.onnx.small import Ints, optional_ints

_Reduction = Callable[[Tensor, tuple[int, ...], bool], Tensor]


def _product(x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
    for axis in sorted((a % x.dim() for a in axes), reverse=True):
        x = x.prod(axis, keepdim=keep)
    return x


_REDUCTIONS: dict[str, _Reduction] = {
    "ReduceMean": lambda x, axes, keep: x.mean(axes, keepdim=keep),
    "ReduceSum": lambda x, axes, keep: x.sum(axes, keepdim=keep, dtype=x.dtype),
    "ReduceMax": lambda x, axes, keep: x.amax(axes, keepdim=keep),
    "ReduceMin": lambda x, axes, keep: x.amin(axes, keepdim=keep),
    "ReduceProd": _product,
    "ReduceL1": lambda x, axes, keep: x.abs().sum(axes, keepdim=keep, dtype=x.dtype),
    "ReduceL2": lambda x, axes, keep: x.pow(2).sum(axes, keepdim=keep, dtype=x.dtype).sqrt(),
    "ReduceLogSum": lambda x, axes, keep: x.sum(axes, keepdim=keep).log(),
    "ReduceLogSumExp": lambda x, axes, keep: x.logsumexp(axes, keepdim=keep),
    "ReduceSumSquare": lambda x, axes, keep: x.pow(2).sum(axes, keepdim=keep, dtype=x.dtype),
}


class _Reduce:
    """One reduction with ONNX's handling of axes; a class, so that a model can be pickled."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(
        self,
        x: Tensor,
        axes: Ints | None = None,
        *,
        keepdims: int = 1,
        noop_with_empty_axes: int = 0,
    ) -> Tensor:
        chosen = optional_ints(axes)
        if not chosen and noop_with_empty_axes:
            return x
        return _REDUCTIONS[self.name](x, tuple(chosen or range(x.dim())), bool(keepdims))


for _name in _REDUCTIONS:
    operator(_name, static=("axes",))(_Reduce(_name))


@operator("ArgMax")
def arg_max(x: Tensor, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Tensor:
    """Index of the maximum, the first or the last one."""
    if not select_last_index:
        return torch.argmax(x, axis, keepdim=bool(keepdims))
    return x.shape[axis] - 1 - torch.argmax(x.flip(axis), axis, keepdim=bool(keepdims))


@operator("ArgMin")
def arg_min(x: Tensor, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Tensor:
    """Index of the minimum, the first or the last one."""
    return arg_max(-x, axis=axis, keepdims=keepdims, select_last_index=select_last_index)
