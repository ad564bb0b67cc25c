"""Attention with open probabilities: modules, functions and fused kernels alike.

Hooks on modules see no probabilities, since fused kernels never form them, and timm, torchvision
and transformers each name theirs otherwise. Here every call of an attention function is intercepted
while the mode is active, in this thread alone, and computed as two products and a softmax between
them.
"""

import inspect
import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.overrides import TorchFunctionMode

Keep = Callable[[Float[Tensor, "b heads q k"]], Float[Tensor, "b heads q k"]]
"""Is given the probabilities of one attention, and gives those that the model goes on with."""

_SOFTMAX = {F.softmax, torch.softmax, Tensor.softmax}
_MULTI_HEAD = inspect.signature(F.multi_head_attention_forward)


class AttentionMode(TorchFunctionMode):
    """While active, `keep` is given the probabilities of every attention.

    These are `scaled_dot_product_attention`, `nn.MultiheadAttention`, and a softmax over the last
    of four axes.
    """

    def __init__(self, keep: Keep) -> None:
        super().__init__()
        self.keep = keep

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Replaces attention by one with open probabilities, and leaves all else."""
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention:
            return self._attended(*args, **kwargs)
        if func is F.multi_head_attention_forward:
            return self._multi_head(*args, **kwargs)
        result = func(*args, **kwargs)
        if func in _SOFTMAX and result.dim() == 4:
            dim = args[1] if len(args) > 1 else kwargs.get("dim")
            return self.keep(result) if dim in (-1, 3) else result
        return result

    def _attended(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        """`F.scaled_dot_product_attention` by its definition; without dropout,
        as models are explained."""
        if query.dim() != 4:
            return F.scaled_dot_product_attention(
                query,
                key,
                value,
                attn_mask,
                dropout_p,
                is_causal,
                scale=scale,
                enable_gqa=enable_gqa,
            )
        if enable_gqa:
            key = key.repeat_interleave(query.shape[1] // key.shape[1], 1)
            value = value.repeat_interleave(query.shape[1] // value.shape[1], 1)
        scores = (
            query * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
        ) @ key.transpose(-2, -1)
        if is_causal:
            attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
        if attn_mask is not None:
            masked = attn_mask.dtype == torch.bool
            scores = scores.masked_fill(~attn_mask, -math.inf) if masked else scores + attn_mask
        return self.keep(scores.softmax(-1)) @ value

    def _multi_head(self, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor | None]:
        """`F.multi_head_attention_forward`, whose probabilities are asked for and applied to the
        values here."""
        call = _MULTI_HEAD.bind(*args, **kwargs)
        call.apply_defaults()
        given = call.arguments
        if given["query"].dim() != 3 or given["add_zero_attn"] or given["bias_v"] is not None:
            return F.multi_head_attention_forward(*args, **kwargs)
        wanted, mean = given["need_weights"], given["average_attn_weights"]
        alone = (
            given["query"] is given["key"] is given["value"]
            and not given["use_separate_proj_weight"]
        )
        if alone and given["attn_mask"] is None and given["key_padding_mask"] is None:
            projected = F.linear(given["query"], given["in_proj_weight"], given["in_proj_bias"])
            q, k, values = (_by_head(part, given).contiguous() for part in projected.chunk(3, -1))
            found = (q / math.sqrt(q.shape[-1]) @ k.transpose(-2, -1)).softmax(-1)
        else:
            given["need_weights"], given["average_attn_weights"] = True, False
            _, found = F.multi_head_attention_forward(*call.args, **call.kwargs)
            assert found is not None
            values = _by_head(_values(given), given)
        p = self.keep(found)
        attended = (p @ values).movedim(-2, 0).flatten(-2)
        output = F.linear(attended, given["out_proj_weight"], given["out_proj_bias"])
        return output, (p.mean(1) if mean else p) if wanted else None


def _by_head(tokens: Float[Tensor, "n b c"], given: dict[str, Any]) -> Float[Tensor, "b heads n d"]:
    return tokens.unflatten(-1, (given["num_heads"], -1)).movedim(0, -2)


def _values(given: dict[str, Any]) -> Float[Tensor, "k b c"]:
    width, weight, bias = (
        given["embed_dim_to_check"],
        given["in_proj_weight"],
        given["in_proj_bias"],
    )
    weight = given["v_proj_weight"] if given["use_separate_proj_weight"] else weight[2 * width :]
    return F.linear(given["value"], weight, None if bias is None else bias[2 * width :])
