"""Batch norm in evaluation mode, folded into the convolution before it, forward and backward at once."""

import operator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from camport.export.graph import constant_of, free_name, is_call, set_buffer

aten = torch.ops.aten

_INFERENCE = aten._native_batch_norm_legit_no_training.default
_GENERAL = aten.native_batch_norm.default
_BACKWARD = aten.native_batch_norm_backward.default

EXACT = "camport_exact"
"""Key of a graph's meta: the float64 values of constants that passes computed, by name."""


@dataclass(frozen=True)
class _Site:
    """A convolution, the batch norm behind it, and the backward pairs that belong to both."""

    convolution: Node
    norm: Node
    backward: list[tuple[Node, Node]]
    weight: Tensor
    bias: Tensor


def fold_batch_norm(graph: GraphModule) -> int:
    """norm(conv(x, w)) becomes conv(x, w s, β + (b - μ) s) with s = γ / √(v + ε), per output channel.

    The gradient through both, conv_backward(norm_backward(ḡ), w), becomes conv_backward(ḡ, w s): the very same folded
    weight, so the file holds it once.

    The folded tensors are rounded once; their float64 values are kept in `graph.meta[EXACT]`, so that a check of the
    graph in float64 sees the algebra and not the rounding.

    Requires: a captured graph whose backward operators are not lowered yet.
    Ensures: no foldable batch norm is left; one is foldable if its parameters and the convolution's are constants
    and nobody else sees the convolution's result.
    """
    count = 0
    for node in list(graph.graph.nodes):
        site = _site(graph, node)
        if site is not None:
            _fold(graph, site)
            count += 1
    graph.graph.eliminate_dead_code()
    return count


def _site(graph: GraphModule, norm: Node) -> _Site | None:
    if is_call(norm, _INFERENCE):
        eps = norm.args[6]
    elif is_call(norm, _GENERAL) and not norm.args[5]:
        eps = norm.args[7]
    else:
        return None
    convolution = norm.args[0]
    if not isinstance(convolution, Node) or not is_call(convolution, aten.convolution.default):
        return None
    if convolution.args[6]:  # transposed: the channel axis of its weight is another one
        return None
    if any(not is_call(result, operator.getitem) for result in norm.users):
        return None
    if any(result.args[1] != 0 and _is_used(result) for result in norm.users):
        return None
    others = [user for user in convolution.users if user is not norm]
    backward: list[tuple[Node, Node]] = []
    for other in others:
        pairs = _backward_pairs(other, convolution.args[1])
        if pairs is None:
            return None
        backward += pairs
    folded = _folded(graph, convolution, norm, float(eps))  # type: ignore[arg-type]
    return None if folded is None else _Site(convolution, norm, backward, *folded)


def _is_used(result: Node) -> bool:
    """Whether a saved statistic is read by more than backward operators, which need none in evaluation mode."""
    return any(not is_call(user, _BACKWARD) for user in result.users)


def _backward_pairs(norm_backward: Node, weight: Any) -> list[tuple[Node, Node]] | None:
    """The (norm backward, convolution backward) pairs behind `norm_backward`; None if anything else stands there."""
    if not is_call(norm_backward, _BACKWARD) or norm_backward.args[7]:
        return None
    pairs = []
    for result in norm_backward.users:
        if not is_call(result, operator.getitem):
            return None
        for user in result.users:
            if result.args[1] != 0 or not is_call(user, aten.convolution_backward.default):
                return None
            if user.args[2] is not weight or user.args[0] is not result:
                return None
            pairs.append((norm_backward, user))
    return pairs


def _folded(graph: GraphModule, convolution: Node, norm: Node, eps: float) -> tuple[Tensor, Tensor] | None:
    """w s and β + (b - μ) s, computed in float64; None where one of them is not constant."""
    arguments = [convolution.args[1], convolution.args[2], *norm.args[1:5]]
    values = [None if a is None else constant_of(graph, a) for a in arguments]
    if any(a is not None and v is None for a, v in zip(arguments, values, strict=True)):
        return None
    weight, bias, gamma, beta, mean, var = (None if v is None else v.detach() for v in values)
    if weight is None or mean is None or var is None:
        return None
    scale = torch.rsqrt(var.double() + eps)
    if gamma is not None:
        scale = scale * gamma.double()
    shift = -mean.double() if bias is None else bias.double() - mean.double()
    shift = shift * scale
    if beta is not None:
        shift = shift + beta.double()
    scaled = weight.double() * scale.reshape(-1, *[1] * (weight.dim() - 1))
    return scaled, shift


def _fold(graph: GraphModule, site: _Site) -> None:
    nodes = graph.graph
    source = str(site.convolution.args[1].target)  # type: ignore[union-attr]
    stem = source.removesuffix(".weight")
    dtype = site.convolution.meta["val"].dtype
    exact = graph.meta.setdefault(EXACT, {})
    reads = []
    for name, value in ((f"{stem}.folded_weight", site.weight), (f"{stem}.folded_bias", site.bias)):
        name = free_name(graph, name)
        set_buffer(graph, name, value.to(dtype))
        exact[name] = value
        with nodes.inserting_before(site.convolution):
            read = nodes.get_attr(name)
        reads.append(read)
    weight, bias = reads
    old_weight = site.convolution.args[1]
    weight.meta = dict(old_weight.meta)  # type: ignore[union-attr]
    site.convolution.args = (site.convolution.args[0], weight, bias, *site.convolution.args[3:])
    for result in list(site.norm.users):
        if result.args[1] == 0:
            result.replace_all_uses_with(site.convolution)
    for norm_backward, convolution_backward in site.backward:
        convolution_backward.args = (
            norm_backward.args[0],
            convolution_backward.args[1],
            weight,
            *convolution_backward.args[3:],
        )
