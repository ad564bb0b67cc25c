"""The same computed twice."""

from typing import Any

import torch
from torch.fx import GraphModule, Node

aten = torch.ops.aten


def merge_duplicates(graph: GraphModule) -> int:
    """Two calls of one operator on the same arguments become one.

    Requires: a functional graph; no operator in it draws random numbers.
    Ensures: no two calls are equal.
    """
    seen: dict[Any, Node] = {}
    count = 0
    for node in list(graph.graph.nodes):
        if node.op != "call_function":
            continue
        key = (node.target, _key(node.args), _key(node.kwargs))
        first = seen.setdefault(key, node)
        if first is not node:
            node.replace_all_uses_with(first)
            graph.graph.erase_node(node)
            count += 1
    return count


def _key(value: Any) -> Any:
    """Arguments as a dictionary's key; numbers of different types are different,
    as 1 and 1.0 and True."""
    if isinstance(value, list | tuple):
        return tuple(map(_key, value))
    if isinstance(value, dict):
        return tuple((name, _key(item)) for name, item in sorted(value.items()))
    return value if isinstance(value, Node) else (type(value), value)
