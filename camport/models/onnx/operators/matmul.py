"""Products of matrices."""

import torch
import torch.nn.functional as F
from torch import Tensor

from camport.models.onnx.registry import operator


@operator("MatMul")
def matmul(a: Tensor, weight: Tensor) -> Tensor:
    """a @ weight, as numpy does."""
    return torch.matmul(a, weight)


@operator("Gemm")
def gemm(
    a: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,
    transB: int = 0,
) -> Tensor:
    """alpha · a @ weight + beta · bias; the usual one is torch's linear layer."""
    a = a.t() if transA else a
    if alpha == 1 and beta == 1 and transB and (bias is None or bias.dim() == 1):
        return F.linear(a, weight, bias)
    y = a @ (weight.t() if transB else weight)
    y = y if alpha == 1 else y * alpha
    if bias is None:
        return y
    return y + (bias if beta == 1 else bias * beta)


@operator("Einsum")
def einsum(*terms: Tensor, equation: str) -> Tensor:
    """Einstein's sum."""
    return torch.einsum(equation, *terms)
