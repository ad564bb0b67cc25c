"""Attention as one operator (opset 23), written out as the older exports have it."""

import math

import torch
from torch import Tensor

from camport.errors import ModelError
from camport.models.onnx.registry import operator


@operator("Attention", since=23)
def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None = None,
    *,
    is_causal: int = 0,
    kv_num_heads: int | None = None,
    q_num_heads: int | None = None,
    qk_matmul_output_mode: int = 0,
    scale: float | None = None,
    softcap: float = 0.0,
    softmax_precision: int = 0,
) -> Tensor:
    """softmax(scale · q kᵀ + mask) v, for [b,heads,n,d] or for [b,n,heads·d] with the number of
    heads given."""
    if softcap:
        raise ModelError("Attention with a softcap is not imported")
    flat = q.dim() == 3
    if flat:
        assert q_num_heads is not None
        assert kv_num_heads is not None
        q, k, v = _split(q, q_num_heads), _split(k, kv_num_heads), _split(v, kv_num_heads)
    if k.shape[1] != q.shape[1]:  # several queries share a key
        share = q.shape[1] // k.shape[1]
        k, v = k.repeat_interleave(share, 1), v.repeat_interleave(share, 1)
    scores = torch.matmul(q, k.transpose(-1, -2)) * (
        1 / math.sqrt(q.shape[-1]) if scale is None else scale
    )
    if is_causal:
        ones = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool, device=q.device)
        scores = scores.masked_fill(ones.triu(1), -torch.inf)
    if mask is not None:
        scores = (
            scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
        )
    y = torch.matmul(scores.softmax(-1), v)
    return y.transpose(1, 2).flatten(2) if flat else y


def _split(x: Tensor, heads: int) -> Tensor:
    """[b,n,heads·d] as [b,heads,n,d]."""
    return x.unflatten(2, (heads, x.shape[2] // heads)).transpose(1, 2)
