"""Rows of a matrix, recorded as products with a one-hot matrix."""

from typing import Any

import torch
from torch.fx import GraphModule, Node

from camport.export.graph import is_call, shape_of

aten = torch.ops.aten


def onehot_to_gather(graph: GraphModule) -> int:
    """mm(onehot(c), W) becomes W[c], where onehot(c) is (arange(k)[None] == c[:, None]) as numbers.

    Why: this is the gradient of a logit with respect to the last linear layer's input. The product
    reads the whole matrix, which is a twentieth of a small network's time; the row is k times
    shorter.

    Requires: class indices in 0 ... k-1, as the adapters ensure; a runtime reports any other.
    Ensures: no such product is left.
    """
    count = 0
    nodes = graph.graph
    for node in list(nodes.nodes):
        if not is_call(node, aten.mm.default):
            continue
        index = _index(node.args[0])
        if index is None:
            continue
        with nodes.inserting_before(node):
            rows = nodes.call_function(aten.index_select.default, (node.args[1], 0, index))
        rows.meta = dict(node.meta)
        node.replace_all_uses_with(rows)
        count += 1
    return count


def _index(onehot: Any) -> Node | None:
    """The class indices c [b] behind a one-hot matrix [b, k], or None."""
    while is_call(onehot, aten._to_copy.default):
        onehot = onehot.args[0]
    if not is_call(onehot, aten.eq.Tensor):
        return None
    for places, column in (onehot.args[:2], onehot.args[1::-1]):
        if not (is_call(column, aten.unsqueeze.default) and column.args[1] in (1, -1)):
            continue
        index = column.args[0]
        if _is_range(places, shape_of(onehot)[1]) and index.meta["val"].dtype == torch.int64:
            return index if index.meta["val"].dim() == 1 else None
    return None


def _is_range(node: Any, length: Any) -> bool:
    """Whether `node` is 0 ... length-1 as a row."""
    if not is_call(node, aten.unsqueeze.default) or node.args[1] != 0:
        return False
    places = node.args[0]
    return is_call(places, aten.arange.default) and places.args == (length,)
