"""Sums over the channels, each with a weight of its own."""

import torch
from torch.fx import GraphModule, Node

from camport.export.graph import is_call, shape_of
from camport.export.passes.building import call, same

aten = torch.ops.aten


def weighted_sums(graph: GraphModule) -> int:
    """sum(w · a, channels), with w [b,c,1,1] and a [b,c,h,w],
    becomes the matrix product w[b,1,c] a[b,c,h·w].

    Why: every method of activations and weights ends so. Without it the weighted activations are
    written and read.

    Requires: shapes in `meta["val"]`, channels and places that are not symbolic.
    Ensures: the same values up to the order of the sum.
    """
    count = 0
    for node in list(graph.graph.nodes):
        pair = _weights_and_maps(node)
        if pair is None:
            continue
        weights, maps = pair
        _, c, h, w = shape_of(maps)
        with graph.graph.inserting_before(node):
            row = call(graph, aten.reshape.default, weights, [-1, 1, c])
            flat = call(graph, aten.reshape.default, maps, [-1, c, h * w])
            product = call(graph, aten.bmm.default, row, flat)
            result = call(graph, aten.reshape.default, product, [-1, h, w])
        node.replace_all_uses_with(result)
        count += 1
    graph.graph.eliminate_dead_code()
    return count


def _weights_and_maps(node: Node) -> tuple[Node, Node] | None:
    if (
        not is_call(node, aten.sum.dim_IntList)
        or node.kwargs
        or list(node.args[1:]) not in ([[1]], [[1], False])
    ):
        return None
    product = node.args[0]
    if (
        not isinstance(product, Node)
        or not is_call(product, aten.mul.Tensor)
        or len(product.users) > 1
    ):
        return None
    a, b = product.args
    if not isinstance(a, Node) or not isinstance(b, Node):
        return None
    return next(
        ((weights, maps) for weights, maps in ((a, b), (b, a)) if _fit(weights, maps)), None
    )


def _fit(weights: Node, maps: Node) -> bool:
    small, large = shape_of(weights), shape_of(maps)
    static = len(small) == len(large) == 4 and all(isinstance(n, int) for n in large[1:])
    one_each = static and same(tuple(small), (*large[:2], 1, 1))
    return bool(one_each and weights.meta["val"].dtype == maps.meta["val"].dtype)
