"""Batch norm in evaluation mode, folded into the convolution before it,
forward and backward at once."""

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

KEPT = "camport_kept"
"""Key of a loop body's meta: addresses of the weights that the graph around it holds as they are. A
folded one would be held besides."""


@dataclass(frozen=True)
class _Site:
    """A convolution, the batch norm behind it, and the backward pairs that belong to both."""

    convolution: Node
    norm: Node
    backward: list[tuple[Node, Node]]
    weight: Tensor
    bias: Tensor
    scale: Tensor


def fold_batch_norm(graph: GraphModule) -> int:
    """norm(conv(x, w)) becomes conv(x, w s, β + (b - μ) s) with s = γ / √(v + ε),
    per output channel.

    The gradient through both, conv_backward(norm_backward(ḡ), w), becomes conv_backward(ḡ, w s):
    the very same folded weight, so the file holds it once.

    The folded tensors are rounded once; their float64 values are kept in `graph.meta[EXACT]`, so
    that a check of the graph in float64 sees the algebra and not the rounding.

    A convolution whose weight is held as it is too, since elsewhere its own result is asked for,
    stays: its result times s, plus the shift.

    Requires: a captured graph whose backward operators are not lowered yet.
    Ensures: no foldable batch norm is left; one is foldable if its parameters and the convolution's
    are constants and nobody else sees the convolution's result.
    """
    sites = [site for node in graph.graph.nodes if (site := _site(graph, node)) is not None]
    folded = {site.convolution for site in sites}
    others = [
        node
        for node in graph.graph.nodes
        if is_call(node, aten.convolution.default) and node not in folded
    ]
    kept = {_address(graph, node) for node in others} | graph.meta.get(KEPT, set())
    for site in sites:
        stays = _address(graph, site.convolution) in kept and not site.backward
        (_scale if stays else _fold)(graph, site)
    graph.graph.eliminate_dead_code()
    return len(sites)


def _address(graph: GraphModule, convolution: Node) -> int | None:
    """Where the convolution's weight lies in memory; None where it is no constant."""
    weight = constant_of(graph, convolution.args[1])
    return None if weight is None else weight.data_ptr()


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
    """Whether a saved statistic is read by more than backward operators,
    which need none in evaluation mode."""
    return any(not is_call(user, _BACKWARD) for user in result.users)


def _backward_pairs(norm_backward: Node, weight: Any) -> list[tuple[Node, Node]] | None:
    """The (norm backward, convolution backward) pairs behind `norm_backward`;
    None if anything else stands there."""
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


def _folded(
    graph: GraphModule, convolution: Node, norm: Node, eps: float
) -> tuple[Tensor, Tensor, Tensor] | None:
    """w s, β + (b - μ) s and s, computed in float64; None where one of them is not constant."""
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
    return scaled, shift, scale


def _held(exact: dict[str, Tensor], name: str, value: Tensor) -> str | None:
    """Under which name an earlier pass of the same network has folded to the same value."""
    alike = (known for known in exact if known == name or known.startswith(f"{name}_"))
    return next((known for known in alike if torch.equal(exact[known], value)), None)


def _read(graph: GraphModule, site: _Site, what: str, value: Tensor) -> Node:
    """A node that reads `value`, which is held once."""
    stem = str(site.convolution.args[1].target).removesuffix(".weight")  # type: ignore[union-attr]
    exact, name = graph.meta.setdefault(EXACT, {}), f"{stem}.folded_{what}"
    name = _held(exact, name, value) or free_name(graph, name)
    if name not in exact:
        set_buffer(graph, name, value.to(site.convolution.meta["val"].dtype))
        exact[name] = value
    return graph.graph.get_attr(name)


def _replace(norm: Node, node: Node) -> None:
    """`node` in place of what the batch norm puts out."""
    for result in list(norm.users):
        if result.args[1] == 0:
            result.replace_all_uses_with(node)


def _scale(graph: GraphModule, site: _Site) -> None:
    nodes, axes = graph.graph, [-1, *[1] * (site.weight.dim() - 2)]
    convolution, bias = site.convolution, site.convolution.args[2]
    own = None if bias is None else constant_of(graph, bias)
    shift = site.bias if own is None else site.bias - own.double() * site.scale
    with nodes.inserting_after(convolution):
        result = nodes.call_function(aten.add.Tensor)
    with nodes.inserting_before(result):
        scale, rest = (
            _read(graph, site, what, value.reshape(axes))
            for what, value in (("scale", site.scale), ("shift", shift))
        )
        product = nodes.call_function(aten.mul.Tensor, (convolution, scale))
    result.args = (product, rest)
    product.meta = result.meta = dict(convolution.meta)
    _replace(site.norm, result)


def _fold(graph: GraphModule, site: _Site) -> None:
    with graph.graph.inserting_before(site.convolution):
        weight, bias = (
            _read(graph, site, *held) for held in (("weight", site.weight), ("bias", site.bias))
        )
    old_weight = site.convolution.args[1]
    weight.meta = dict(old_weight.meta)  # type: ignore[union-attr]
    site.convolution.args = (site.convolution.args[0], weight, bias, *site.convolution.args[3:])
    _replace(site.norm, site.convolution)
    for norm_backward, convolution_backward in site.backward:
        convolution_backward.args = (
            norm_backward.args[0],
            convolution_backward.args[1],
            weight,
            *convolution_backward.args[3:],
        )
