"""The gradient of a convolution's gradient, for any batch.

PyTorch computes it in C++ that, in 2.11, asks for sizes as numbers, and so cannot be recorded with a free batch. What a
Hessian product (Shapley-CAM) needs of it is one convolution: the gradient with respect to what came from behind.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch._C import DispatchKey

_OPERATOR = torch.ops.aten._convolution_double_backward.default
_KEY = DispatchKey.CompositeImplicitAutograd


@contextmanager
def second_gradient() -> Iterator[None]:
    """Puts it in force for what the Python dispatcher runs in the body."""
    before = _OPERATOR.py_kernels.get(_KEY)
    _OPERATOR.py_kernels[_KEY] = _double_backward
    _OPERATOR._dispatch_cache.clear()
    try:
        yield
    finally:
        if before is None:
            del _OPERATOR.py_kernels[_KEY]
        else:
            _OPERATOR.py_kernels[_KEY] = before
        _OPERATOR._dispatch_cache.clear()


def _double_backward(
    input_tangent: Tensor | None,
    weight_tangent: Tensor | None,
    bias_tangent: Tensor | None,
    gradient: Tensor,
    weight: Tensor,
    images: Tensor,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    output_padding: Any,
    groups: Any,
    wanted: list[bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """With respect to the gradient, the images and the weight; weights are constants in a program."""
    geometry = (stride, padding, dilation, transposed, output_padding, groups)
    if input_tangent is None or weight_tangent is not None or bias_tangent is not None or wanted[2]:
        tangents = (input_tangent, weight_tangent, bias_tangent)
        return _OPERATOR._op_dk(_KEY, *tangents, gradient, weight, images, *geometry, wanted)
    return torch.ops.aten.convolution.default(input_tangent, weight, None, *geometry), None, None
