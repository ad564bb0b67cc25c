"""Products with a matrix that was repeated over the batch."""

import torch
from torch.fx import GraphModule, Node

from camport.export.graph import is_call, shape_of

aten = torch.ops.aten

_VIEWS = (aten.view.default, aten.reshape.default, aten._unsafe_view.default)


def bare_matmul(graph: GraphModule) -> int:
    """bmm(x, expand(w)) becomes reshape(mm(reshape(x), w)).

    Why: a linear layer on a non-contiguous [b, ..., c] input is recorded so. In PyTorch the
    expansion is free, but an ONNX Expand makes b copies of the weight.

    Requires: shapes in `meta["val"]`.
    Ensures: no bmm has a matrix that is constant over its batch axis by expansion.
    """
    count = 0
    for node in list(graph.graph.nodes):
        if not is_call(node, aten.bmm.default):
            continue
        matrix = _expanded(node.args[1])
        if matrix is None:
            continue
        weight, transposed = matrix
        x = node.args[0]
        batch, rows, inner = shape_of(x)
        columns = shape_of(weight)[0 if transposed else 1]
        nodes = graph.graph
        with nodes.inserting_before(node):
            if transposed:
                weight = nodes.call_function(aten.t.default, (weight,))
            flat = nodes.call_function(aten.reshape.default, (x, [-1, inner]))
            product = nodes.call_function(aten.mm.default, (flat, weight))
            lead = [
                n if isinstance(n, int) else nodes.call_function(aten.sym_size.int, (x, axis))
                for axis, n in enumerate((batch, rows))
            ]
            result = nodes.call_function(aten.reshape.default, (product, [*lead, columns]))
        result.meta = dict(node.meta)
        node.replace_all_uses_with(result)
        count += 1
    return count


def _expanded(node: Node) -> tuple[Node, bool] | None:
    """The matrix that `node` repeats over its first axis, and whether it is transposed;
    None where it repeats none."""
    transposed = False
    while True:
        if is_call(node, aten.transpose.int) and set(node.args[1:3]) in ({1, 2}, {-1, -2}):
            node, transposed = node.args[0], not transposed  # type: ignore[assignment]
        elif is_call(node, *_VIEWS) and shape_of(node)[-2:] == shape_of(node.args[0])[-2:]:  # type: ignore[arg-type]
            node = node.args[0]  # type: ignore[assignment]  # the axes that it repeats over, taken together
        else:
            break
    if not is_call(node, aten.expand.default):
        return None
    repeated, source = shape_of(node), node.args[0]
    while (
        isinstance(source, Node) and is_call(source, aten.unsqueeze.default) and source.args[1] == 0
    ):
        source = source.args[0]
    if not isinstance(source, Node) or shape_of(source) != repeated[-2:]:
        return None
    return source, transposed
