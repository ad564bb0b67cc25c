"""Comparisons, logic and choice."""

import torch
from torch import Tensor

from camport.models.onnx.registry import operator


@operator("Equal")
def equal(a: Tensor, b: Tensor) -> Tensor:
    """a == b."""
    return a == b


@operator("Greater")
def greater(a: Tensor, b: Tensor) -> Tensor:
    """a > b."""
    return a > b


@operator("GreaterOrEqual")
def greater_or_equal(a: Tensor, b: Tensor) -> Tensor:
    """a >= b."""
    return a >= b


@operator("Less")
def less(a: Tensor, b: Tensor) -> Tensor:
    """a < b."""
    return a < b


@operator("LessOrEqual")
def less_or_equal(a: Tensor, b: Tensor) -> Tensor:
    """a <= b."""
    return a <= b


@operator("And")
def logical_and(a: Tensor, b: Tensor) -> Tensor:
    """Both."""
    return a & b


@operator("Or")
def logical_or(a: Tensor, b: Tensor) -> Tensor:
    """Either or both."""
    return a | b


@operator("Xor")
def logical_xor(a: Tensor, b: Tensor) -> Tensor:
    """Either, not both."""
    return a ^ b


@operator("Not")
def logical_not(x: Tensor) -> Tensor:
    """The opposite."""
    return ~x


@operator("IsNaN")
def is_nan(x: Tensor) -> Tensor:
    """Where x is no number."""
    return torch.isnan(x)


@operator("IsInf")
def is_inf(x: Tensor, *, detect_negative: int = 1, detect_positive: int = 1) -> Tensor:
    """Where x is infinite, of one sign or both."""
    nowhere = torch.zeros_like(x, dtype=torch.bool)
    positive = x == torch.inf if detect_positive else nowhere
    return positive | (x == -torch.inf) if detect_negative else positive


@operator("Where")
def where(condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """a where the condition holds, else b."""
    return torch.where(condition, a, b)
