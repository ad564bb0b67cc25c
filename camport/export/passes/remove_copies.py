"""Copies that have no meaning in a graph without mutation."""

import torch
from torch.fx import GraphModule, Node

aten = torch.ops.aten

_COPIES = (
    aten.clone.default,
    aten.detach.default,
    aten.alias.default,
    aten.lift_fresh_copy.default,
    aten.contiguous.default,
)


def remove_copies(graph: GraphModule) -> int:
    """clone(x), detach(x), alias(x) become x, as does a transpose of a transpose.

    Requires: a functional graph: nothing is written in place.
    Ensures: none of these operators is left.
    """
    count = 0
    for node in list(graph.graph.nodes):
        if node.op != "call_function":
            continue
        source = node.args[0] if node.args else None
        if node.target in _COPIES:
            node.replace_all_uses_with(source)
            count += 1
        elif (
            node.target is aten.t.default
            and isinstance(source, Node)
            and source.target is aten.t.default
        ):
            node.replace_all_uses_with(source.args[0])
            count += 1
    return count
