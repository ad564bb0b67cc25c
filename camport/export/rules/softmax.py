"""Gradients of softmax and log-softmax, given their results."""

import torch
from torch import Tensor

from camport.export.rules.registry import lowers


@lowers("_softmax_backward_data.default")
def softmax_backward(g: Tensor, y: Tensor, dim: int, dtype: torch.dtype) -> Tensor:
    """x̄ = ḡ y - y Σ ḡ y."""
    t = g * y
    return (t - y * t.sum(dim, keepdim=True)).to(dtype)


@lowers("_log_softmax_backward_data.default")
def log_softmax_backward(g: Tensor, y: Tensor, dim: int, dtype: torch.dtype) -> Tensor:
    """x̄ = ḡ - e^y Σ ḡ."""
    return (g - torch.exp(y) * g.sum(dim, keepdim=True)).to(dtype)
