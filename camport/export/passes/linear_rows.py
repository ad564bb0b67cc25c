"""Linear layers over rows of tokens, recorded as products of flattened matrices."""

from typing import Any

import torch
from torch.fx import GraphModule, Node

from camport.export.graph import is_call, shape_of
from camport.export.passes.building import arguments, call, same

aten = torch.ops.aten


def flat_products_to_rows(graph: GraphModule) -> int:
    """mm(reshape(x [..., c] to [-1, c]), W), reshaped back, becomes matmul(x, W); addmm likewise,
    with its bias added.

    Why: the flattened matrix mixes the batch with the tokens, so later passes could not follow the
    tokens through it, and its height is one more symbolic size.

    Requires: shapes in `meta["val"]`; a functional graph with reshapes and no views.
    Ensures: no such pair of reshapes stands around a product.
    """
    count = 0
    for node in list(graph.graph.nodes):
        if is_call(node, aten.mm.default):
            bias, (flat, matrix) = None, arguments(node)
        elif is_call(node, aten.addmm.default) and not node.kwargs:
            bias, flat, matrix = arguments(node)
        else:
            continue
        if not node.users or not all(is_call(user, aten.reshape.default) for user in node.users):
            continue
        with graph.graph.inserting_before(node):
            rows = _rows(graph, flat, node)
            if rows is None:
                continue
            product = call(graph, aten.matmul.default, rows, matrix)
            if bias is not None:
                product = call(graph, aten.add.Tensor, product, bias)
        for user in list(node.users):
            if same(shape_of(user), shape_of(product)):
                user.replace_all_uses_with(product)
            else:
                user.args = (product, *user.args[1:])
        count += 1
    return count


def _rows(graph: GraphModule, flat: Any, product: Node) -> Node | None:
    """The tensor [..., c] of three or more axes that `flat` is as [-1, c], or None.

    Its leading axes are those it had before, or, where it was put together on the way, as heads of
    attention are, those that the product gets afterwards.
    """
    if not is_call(flat, aten.reshape.default):
        return None
    source, inner, outer = flat.args[0], shape_of(flat)[-1], shape_of(product)[-1]
    if len(shape_of(source)) > 2 and same(shape_of(source)[-1], inner):
        return source
    for user in product.users:
        shape = shape_of(user)
        sizes: Any = user.args[1]
        if len(shape) > 2 and same(shape[-1], outer) and -1 not in sizes:
            earlier = all(not isinstance(n, Node) or n < product for n in sizes)
            if earlier:
                return call(graph, aten.reshape.default, source, [*sizes[:-1], inner])
    return None
