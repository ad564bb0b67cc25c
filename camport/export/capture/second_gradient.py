"""The gradient of a convolution's gradient, for any batch.

PyTorch computes it in C++ that, in 2.11, asks for sizes as numbers, and so cannot be recorded with
a free batch. What a Hessian product (Shapley-CAM) needs of it is one convolution: the gradient with
respect to what came from behind.
"""

from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from camport.export.private_torch import double_backward, original_double_backward


def second_gradient() -> AbstractContextManager[None]:
    """Puts it in force for what the Python dispatcher runs in the body."""
    return double_backward(_double_backward)


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
    """With respect to the gradient, the images and the weight;
    weights are constants in a program."""
    geometry = (stride, padding, dilation, transposed, output_padding, groups)
    if input_tangent is None or weight_tangent is not None or bias_tangent is not None or wanted[2]:
        tangents = (input_tangent, weight_tangent, bias_tangent)
        gradients: tuple[Tensor | None, Tensor | None, Tensor | None] = original_double_backward(
            *tangents, gradient, weight, images, *geometry, wanted
        )
        return gradients
    return torch.ops.aten.convolution.default(input_tangent, weight, None, *geometry), None, None
