"""Element counts, which ONNX has no symbol for, as products of axis lengths."""

import operator
from typing import Any

import torch
from torch.fx import GraphModule

from camport.export.graph import shape_of

aten = torch.ops.aten


def counts_to_products(graph: GraphModule) -> int:
    """sym_numel(x) becomes sym_size(x, 0) · sym_size(x, 1) · ..., lengths that are known as numbers.

    Requires: shapes in `meta["val"]`.
    Ensures: no sym_numel is left.
    """
    count = 0
    nodes = graph.graph
    for node in list(nodes.nodes):
        if node.target is not aten.sym_numel.default:
            continue
        x: Any = node.args[0]
        known, product = 1, None
        with nodes.inserting_before(node):
            for axis, length in enumerate(shape_of(x)):
                if isinstance(length, int):
                    known *= length
                    continue
                size = nodes.call_function(aten.sym_size.int, (x, axis))
                size.meta["val"] = length
                if product is None:
                    product = size
                    continue
                left = product.meta["val"]
                product = nodes.call_function(operator.mul, (product, size))
                product.meta["val"] = left * length
            if product is None:
                node.replace_all_uses_with(known)
            else:
                result = nodes.call_function(operator.mul, (product, known))
                result.meta = dict(node.meta)
                node.replace_all_uses_with(result)
        count += 1
    return count
