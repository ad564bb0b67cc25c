"""The guard that PyTorch puts around the softmax of attention."""

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
    """safe_softmax(scores) becomes softmax(scores) where no mask was added to the scores.

    Why: it gives 0 instead of NaN for rows that a mask empties. Scores that are a product of
    queries and keys have none, and the comparisons over [b, heads, t, t] cost a twentieth of a
    ViT's time.

    Requires: a captured graph, not lowered yet.
    Ensures: no guard over unmasked scores is left.
    """
    count = 0
    for node in graph.graph.nodes:
        if (
            is_call(node, aten._safe_softmax.default)
            and not node.kwargs
            and _is_product(node.args[0])
        ):
            node.target = aten._softmax.default
            node.args = (*node.args[:2], False)
            count += 1
    return count


def _is_product(node: Any) -> bool:
    """Whether `node` is a matrix product, at most scaled."""
    while isinstance(node, Node) and is_call(node, *_SCALED):
        node = node.args[0]
    return is_call(node, aten.bmm.default, aten.mm.default)
