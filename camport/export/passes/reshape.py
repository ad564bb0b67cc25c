"""Views and selections as plain reshapes."""

import torch
from torch.fx import GraphModule

from camport.export.graph import shape_of

aten = torch.ops.aten


def views_to_reshapes(graph: GraphModule) -> int:
    """view(x) becomes reshape(x).

    Requires: nothing.
    Ensures: no operator depends on strides, which differ once other operators are lowered.
    """
    count = 0
    for node in graph.graph.nodes:
        if node.target in (aten.view.default, aten._unsafe_view.default):
            node.target = aten.reshape.default
            count += 1
    return count


def selects_to_squeezes(graph: GraphModule) -> int:
    """x[..., 0, ...] becomes squeeze(x) where that axis has length 1.

    Requires: shapes in `meta["val"]`; a functional graph.
    Ensures: no selection copies the only element of an axis.
    """
    count = 0
    for node in graph.graph.nodes:
        if node.target is aten.select.int and shape_of(node.args[0])[node.args[1]] == 1:
            node.target = aten.squeeze.dim
            node.args = node.args[:2]
            count += 1
    return count
