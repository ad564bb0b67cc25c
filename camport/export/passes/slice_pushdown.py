"""Computing only what is read: parts taken of a result become parts taken of what it is computed
from."""

import torch
from torch.fx import GraphModule, Node

from camport.export.graph import is_call, shape_of
from camport.export.passes.axis_tracking import Part, narrowed
from camport.export.passes.building import arguments, call, rank

aten = torch.ops.aten


def slice_pushdown(graph: GraphModule) -> int:
    """f(x)[..., i:j, ...] becomes f(x[..., i:j, ...]) where nobody reads another part of f(x).

    Why: a classifier with a class token reads one row of its last block's result, so that the
    block's perceptron and most of its attention need one row of 197. The bare model's file computes
    all of them.

    Requires: shapes in `meta["val"]`; a functional graph.
    Ensures: the same values; no more is computed than before.
    """
    count = 0
    cuts: dict[tuple[Node, Part], Node] = {}
    nodes = graph.graph
    for node in reversed(list(nodes.nodes)):
        part = _only_part(node)
        if part is None:
            if node.op == "call_function" and not node.users:
                # at once: it would count as somebody who reads all of its inputs
                nodes.erase_node(node)
            continue

        def cut(source: Node, axis: int, part: Part = part) -> Node:
            key = (source, Part(axis, part.start, part.stop))
            if key not in cuts:
                with nodes.inserting_after(source):
                    cuts[key] = call(graph, aten.slice.Tensor, source, axis, part.start, part.stop)
            return cuts[key]

        with nodes.inserting_before(node):
            result = narrowed(graph, node, part, cut)
        if result is None:
            continue
        for user in list(node.users):
            if is_call(user, aten.select.int):
                user.target, user.args = aten.squeeze.dim, (result, part.axis)
            else:
                user.replace_all_uses_with(result)
                nodes.erase_node(user)
        nodes.erase_node(node)
        count += 1
    return count


def _only_part(node: Node) -> Part | None:
    """The part of `node` that all its users read, if they read the same one and not all of it."""
    parts = {_part(node, user) for user in node.users}
    return parts.pop() if len(parts) == 1 else None


def _part(node: Node, user: Node) -> Part | None:
    if (
        not is_call(user, aten.slice.Tensor, aten.select.int)
        or user.args[0] is not node
        or user.kwargs
    ):
        return None
    axis, *numbers = arguments(user)[1:] or [0]
    axis %= rank(node)
    length = shape_of(node)[axis]
    if not isinstance(length, int) or not all(isinstance(n, int) for n in numbers):
        return None
    if is_call(user, aten.select.int):
        start = numbers[0] % length
        # an axis of one is whole already, and may be all that a sum left of it
        return Part(axis, start, start + 1) if length > 1 else None
    whole = [0, length, 1]
    start, stop, step = numbers + whole[len(numbers) :]
    start, stop = (min(max(n + length if n < 0 else n, 0), length) for n in (start, stop))
    return Part(axis, start, stop) if step == 1 and start < stop and stop - start < length else None
