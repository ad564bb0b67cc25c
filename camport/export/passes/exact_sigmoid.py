"""The logistic function written so that small results are right."""

import torch
from torch.fx import GraphModule, Node

from camport.export.graph import is_call

aten = torch.ops.aten


def exact_sigmoid(graph: GraphModule) -> int:
    """σ(x) becomes 1 / (1 + exp(-x)).

    Why: ONNX Runtime's Sigmoid is a rational function, right to 1e-7 of 1: σ(-15) is 17 % off
    there, and σ(-18) is 0, as is its gradient. A map of small probabilities was flat or wrong.

    Requires: a functional graph.
    Ensures: no sigmoid of float32 is left but those that weight their own input, x σ(x), whose
    error is 1e-7 of x.
    """
    nodes = graph.graph
    count = 0
    for node in list(nodes.nodes):
        if not is_call(node, aten.sigmoid.default) or node.meta["val"].dtype != torch.float32:
            continue
        x = node.args[0]
        if any(is_call(user, aten.mul.Tensor) and x in user.args[:2] for user in node.users):
            continue
        result: Node = x
        with nodes.inserting_before(node):
            for target, more in (
                (aten.neg.default, ()),
                (aten.exp.default, ()),
                (aten.add.Tensor, (1.0,)),
                (aten.reciprocal.default, ()),
            ):
                result = nodes.call_function(target, (result, *more))
                result.meta["val"] = node.meta["val"]
        node.replace_all_uses_with(result)
        count += 1
    return count
