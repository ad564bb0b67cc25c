"""Other backward rules for ReLU, put in place of the function itself: modules, functional,
in-place and reused ones.

Peers hook `nn.ReLU` modules, so a network that calls `F.relu` silently returns the plain gradient.
Here every call of a ReLU function is intercepted while the mode is active, in this thread alone.
"""

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from camport.core.maps.loop import traced

ReluRule = Literal["guided", "deconvnet"]
"""guided: relu(grad_out) where the input was > 0 (1412.6806); deconvnet:
relu(grad_out) (1311.2901)."""

_RELU = {
    F.relu: False,
    torch.relu: False,
    Tensor.relu: False,
    F.relu_: True,
    torch.relu_: True,
    Tensor.relu_: True,
    torch.ops.aten.relu.default: False,  # in the modules of torch.export
    torch.ops.aten.relu_.default: True,
}
_HARDTANH = {F.hardtanh, torch.ops.aten.hardtanh.default}
"""nn.ReLU6 calls F.hardtanh(x, 0, 6)."""
_RELU6 = {F.relu6, torch.ops.aten.relu6.default, *_HARDTANH}


class ReluMode(TorchFunctionMode):
    """While active, ReLU and ReLU6 propagate gradients by `rule`.
    `met` counts the calls it acted on."""

    def __init__(self, rule: ReluRule) -> None:
        super().__init__()
        self.rule, self.met = rule, 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Replaces a ReLU by one with the rule, and leaves all else."""
        kwargs = kwargs or {}
        if func not in _RELU and func not in _RELU6:
            return func(*args, **kwargs)
        ceiling = None
        if func in _HARDTANH:
            low = kwargs.get("min_val", args[1] if len(args) > 1 else -1.0)
            ceiling = kwargs.get("max_val", args[2] if len(args) > 2 else 1.0)
            if low != 0:
                return func(*args, **kwargs)
        elif func in _RELU6:
            ceiling = 6.0
        self.met += 1
        x = args[0] if args else kwargs["input"]
        at = 3 if func in _HARDTANH else 1  # of `inplace` among the arguments
        inplace = _RELU.get(func, False) or kwargs.get(
            "inplace", args[at] if len(args) > at else False
        )
        if inplace and not traced() and x._base is None and not x.is_leaf:
            return _RuledReLU.apply(x, self.rule, ceiling, True)
        y = _RuledReLU.apply(x, self.rule, ceiling, False)
        return x.copy_(y) if inplace else y


class _RuledReLU(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, rule: ReluRule, ceiling: float | None, inplace: bool
    ) -> Tensor:
        y = x.clamp_(min=0, max=ceiling) if inplace else x.clamp(min=0, max=ceiling)
        if inplace:
            ctx.mark_dirty(x)
        ctx.ceiling = ceiling
        ctx.save_for_backward(y if rule == "guided" else None)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        grad = grads[0].clamp(min=0)
        (y,) = ctx.saved_tensors
        if y is not None:
            grad = torch.ops.aten.threshold_backward(grad, y, 0)
            if ctx.ceiling is not None:
                grad = grad * (y < ctx.ceiling)
        return grad, None, None, None
