"""Arithmetic that changes nothing, and arithmetic done on copies."""

from typing import Any

import torch
from torch.fx import GraphModule, Node

from camport.export.graph import is_call, shape_of

aten = torch.ops.aten

_ONES = (aten.ones_like.default, aten.ones.default, aten.new_ones.default)
_RESHAPED = (
    aten.expand.default,
    aten.unsqueeze.default,
    aten.reshape.default,
    aten.view.default,
    aten.squeeze.dim,
)
_BY_NUMBER = (aten.div.Scalar, aten.mul.Scalar, aten.div.Tensor, aten.mul.Tensor)


def remove_unit_factors(graph: GraphModule) -> int:
    """x · 1 becomes x, where 1 is a tensor of ones of any shape:
    the seed of every gradient of a sum.

    Requires: shapes in `meta["val"]`; a functional graph.
    Ensures: no product with ones that keeps shape and type is left.
    """
    count = 0
    for node in list(graph.graph.nodes):
        if not is_call(node, aten.mul.Tensor):
            continue
        for x, other in (node.args[:2], node.args[1::-1]):
            if isinstance(x, Node) and _is_ones(other) and _alike(x, node):
                node.replace_all_uses_with(x)
                count += 1
                break
    return count


def _is_ones(node: Any) -> bool:
    while is_call(node, *_RESHAPED):
        node = node.args[0]
    return is_call(node, *_ONES)


def _alike(x: Node, result: Node) -> bool:
    return shape_of(x) == shape_of(result) and x.meta["val"].dtype == result.meta["val"].dtype


def expand_late(graph: GraphModule) -> int:
    """expand(x) / n becomes expand(x / n), and the mean of expand(x) over its expanded axes becomes
    x.

    Why: the gradient of global average pooling is recorded as an expansion, then a division, and
    Grad-CAM takes its mean again.

    Requires: shapes in `meta["val"]`; a functional graph.
    Ensures: no division or product by a number follows an expand.
    """
    count = 0
    nodes = graph.graph
    for node in list(nodes.nodes):
        source = node.args[0] if node.op == "call_function" and node.args else None
        if not isinstance(source, Node) or not is_call(source, aten.expand.default):
            continue
        small: Any = source.args[0]
        if (
            node.target in _BY_NUMBER
            and len(node.args) == 2
            and isinstance(node.args[1], int | float)
        ):
            with nodes.inserting_before(node):
                scaled = nodes.call_function(node.target, (small, node.args[1]))
                scaled.meta["val"] = node.meta["val"].new_empty(shape_of(small))
                wide = nodes.call_function(aten.expand.default, (scaled, source.args[1]))
                wide.meta = dict(node.meta)
            node.replace_all_uses_with(wide)
            count += 1
        elif (
            is_call(node, aten.mean.dim)
            and shape_of(small) == shape_of(node)
            and _alike(small, node)
        ):
            node.replace_all_uses_with(small)
            count += 1
    return count
