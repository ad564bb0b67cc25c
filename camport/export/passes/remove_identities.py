"""Operators that return their input."""

from typing import Any

import torch
from torch.fx import GraphModule, Node

from camport.export.graph import is_call, shape_of
from camport.export.passes.building import same

aten = torch.ops.aten

_KEEP_SHAPE = (
    aten.reshape.default,
    aten.expand.default,
    aten.slice.Tensor,
    aten.constant_pad_nd.default,
)


def remove_identities(graph: GraphModule) -> int:
    """reshape, expand, slice and pad that leave the shape as it is become their input;
    reshape(reshape(x)) one reshape.

    Requires: shapes in `meta["val"]`; a functional graph.
    Ensures: none of them is left.
    """
    count = 0
    for node in list(graph.graph.nodes):
        source: Any = node.args[0] if node.op == "call_function" and node.args else None
        if not isinstance(source, Node):
            continue
        if (
            is_call(node, *_KEEP_SHAPE)
            and same(shape_of(node), shape_of(source))
            and not _steps_back(node)
        ):
            node.replace_all_uses_with(source)
            count += 1
        elif is_call(node, aten.reshape.default) and is_call(source, aten.reshape.default):
            node.args = (source.args[0], *node.args[1:])
            count += 1
    return count


def _steps_back(node: Node) -> bool:
    """Whether a pad cuts on one side what it adds on the other: the shape is kept,
    the values move."""
    return is_call(node, aten.constant_pad_nd.default) and any(n != 0 for n in node.args[1])  # type: ignore[union-attr]
