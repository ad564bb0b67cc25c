"""The guard that PyTorch puts around the softmax of attention."""

import math
from typing import Any

import torch
from torch.fx import GraphModule, Node

from camport.export.graph import is_call

aten = torch.ops.aten

_SCALED = (
    aten.view.default,
    aten.reshape.default,
    aten._unsafe_view.default,
    aten.expand.default,
    aten.clone.default,
    aten.mul.Scalar,
    aten.div.Scalar,
    aten._to_copy.default,
)


def plain_softmax(graph: GraphModule) -> int:
    """where(every score of the row is -∞, 0, softmax) becomes softmax where no mask was added to the scores.

    Why: the guard is for rows that a mask empties. Scores that are a product of queries and keys have none, and its
    comparisons over [b, heads, t, t] cost a tenth of a ViT's time.

    Requires: a captured graph, backward operators not lowered: the gradient has the same guard.
    Ensures: no guard over unmasked scores is left, forward or backward.
    """
    count = 0
    for node in list(graph.graph.nodes):
        if is_call(node, aten.where.self) and _is_guard(node.args[0]):
            node.replace_all_uses_with(node.args[2])
            count += 1
    return count


def _is_guard(node: Any) -> bool:
    """Whether `node` is not(any(not(scores == -∞))) over unmasked scores."""
    if not is_call(node, aten.logical_not.default) or not is_call(node.args[0], aten.any.dim):
        return False
    inner = node.args[0].args[0]
    if not is_call(inner, aten.logical_not.default) or not is_call(inner.args[0], aten.eq.Scalar):
        return False
    scores, value = inner.args[0].args
    return value == -math.inf and _is_product(scores)


def _is_product(node: Any) -> bool:
    """Whether `node` is a matrix product, at most scaled."""
    while isinstance(node, Node) and is_call(node, *_SCALED):
        node = node.args[0]
    return is_call(node, aten.bmm.default, aten.mm.default)
