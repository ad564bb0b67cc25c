"""Gradients that are zero but for a few rows, kept as these rows."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.fx import GraphModule, Node

from camport.export.graph import is_call, shape_of
from camport.export.passes.axis_tracking import (
    Cut,
    Part,
    axis_before,
    axis_kept,
    broadcast,
    permutation,
)
from camport.export.passes.building import arguments, call, rank

aten, own = torch.ops.aten, torch.ops.camport

SMALL = 4
"""Rows are followed where they are at most one in so many: else the work saved would not pay for
the slices."""


@dataclass(frozen=True)
class Sparse:
    """What is known of a node: it is `inner` at the places of `part`, and zero elsewhere."""

    inner: Node
    part: Part


Known = dict[Node, Sparse]


def sparse_rows(graph: GraphModule) -> int:
    """f(pad(x)) becomes pad(f(x)) where f maps zeros to zeros,
    place by place along the padded axis.

    Why: the gradient of a class token's score starts as one row among zeros, and is multiplied
    through the last block's linear layers and attention. A product over the padded axis needs the
    rows alone, and ends the padding.

    Requires: shapes in `meta["val"]`; a functional graph.
    Ensures: the same values.
    """
    known: Known = {}
    replaced: set[Node] = set()
    cuts: dict[tuple[Node, Part], Node] = {}
    nodes = graph.graph
    for node in list(nodes.nodes):
        sparse = _start(node)
        if sparse is not None:
            known[node] = sparse
        elif node.op == "call_function" and any(source in known for source in node.all_input_nodes):
            with nodes.inserting_before(node):
                result = _pushed(graph, node, known, cuts)
            if isinstance(result, Sparse):
                known[node] = result
            elif result is not None:
                node.replace_all_uses_with(result)
                replaced.add(node)
    for node, sparse in known.items():
        dense = [user for user in node.users if user not in known and user not in replaced]
        if not dense or _start(node) is not None:
            continue
        after = shape_of(node)[sparse.part.axis] - sparse.part.stop
        pads = [0, 0] * (rank(node) - 1 - sparse.part.axis) + [sparse.part.start, after]
        with nodes.inserting_after(node):
            padded = call(graph, aten.constant_pad_nd.default, sparse.inner, pads, 0.0)
        for user in dense:
            user.replace_input_with(node, padded)
    nodes.eliminate_dead_code()
    return len(known) + len(replaced)


def _start(node: Node) -> Sparse | None:
    """A pad with zeros on one axis, of a few rows to many."""
    if not is_call(node, aten.constant_pad_nd.default) or any(arguments(node)[2:]):
        return None
    source: Any = arguments(node)[0]
    pads: Any = arguments(node)[1]
    padded = [i for i in range(0, len(pads), 2) if pads[i] != 0 or pads[i + 1] != 0]
    if len(padded) != 1 or not all(isinstance(n, int) and n >= 0 for n in pads):
        return None
    axis = rank(node) - 1 - padded[0] // 2
    inner, total = shape_of(source)[axis], shape_of(node)[axis]
    if not isinstance(inner, int) or not isinstance(total, int) or inner * SMALL > total:
        return None
    return Sparse(source, Part(axis, pads[padded[0]], pads[padded[0]] + inner))


def _pushed(
    graph: GraphModule, node: Node, known: Known, cuts: dict[tuple[Node, Part], Node]
) -> Sparse | Node | None:
    """What `node` is, computed from rows alone; a node where the result is dense,
    None where there is no rule."""
    rule = _RULES.get(node.target)

    def cut_of(part: Part) -> Cut:
        def cut(source: Node, axis: int) -> Node:
            wanted = Part(axis, part.start, part.stop)
            if source in known and known[source].part == wanted:
                return known[source].inner
            key = (source, wanted)
            if key not in cuts:
                with graph.graph.inserting_after(source):
                    cuts[key] = call(graph, aten.slice.Tensor, source, axis, part.start, part.stop)
            return cuts[key]

        return cut

    return None if rule is None else rule(graph, node, known, cut_of)


CutOf = Callable[[Part], Cut]


def _product(graph: GraphModule, node: Node, known: Known, cut_of: CutOf) -> Sparse | None:
    """p · y, or an operator that is linear in its first argument: zero where p is."""
    factors = arguments(node)[:2] if node.target is aten.mul.Tensor else arguments(node)[:1]
    for factor in factors:
        if isinstance(factor, Node) and factor in known and rank(factor) == rank(node):
            part = known[factor].part
            if shape_of(factor)[part.axis] == shape_of(node)[part.axis]:
                return _at(graph, node, part, cut_of)
    return None


def _sum(graph: GraphModule, node: Node, known: Known, cut_of: CutOf) -> Sparse | None:
    """p ± q with the same zeros."""
    a, b = arguments(node)[:2]
    if not (isinstance(a, Node) and isinstance(b, Node) and a in known and b in known):
        return None
    part = known[a].part
    equal = (
        known[b].part == part
        and rank(a) == rank(b)
        and shape_of(a)[part.axis] == shape_of(b)[part.axis]
    )
    return _at(graph, node, part, cut_of) if equal else None


def _at(graph: GraphModule, node: Node, part: Part, cut_of: CutOf) -> Sparse:
    cut = cut_of(part)
    operands = [
        broadcast(a, node, part, cut) if isinstance(a, Node) else a for a in arguments(node)
    ]
    return Sparse(call(graph, node.target, *operands, **node.kwargs), part)


def _reduction(graph: GraphModule, node: Node, known: Known, cut_of: CutOf) -> Sparse | Node | None:
    """Over other axes place by place; the sum over the padded axis is the rows' own."""
    source, dims, *rest = arguments(node)
    part = known[source].part
    if part.axis not in {d % rank(source) for d in dims}:
        axis = next(a for a in range(rank(node)) if axis_before(node, a) == part.axis)
        inner = call(graph, node.target, known[source].inner, dims, *rest, **node.kwargs)
        return Sparse(inner, Part(axis, part.start, part.stop))
    if node.target is aten.sum.dim_IntList:
        return call(graph, node.target, known[source].inner, dims, *rest, **node.kwargs)
    return None


def _moved(graph: GraphModule, node: Node, known: Known, cut_of: CutOf) -> Sparse | None:
    source: Any = arguments(node)[0]
    part = known[source].part
    axis = permutation(node).index(part.axis)
    return Sparse(
        call(graph, node.target, known[source].inner, *arguments(node)[1:]),
        Part(axis, part.start, part.stop),
    )


def _reshape(graph: GraphModule, node: Node, known: Known, cut_of: CutOf) -> Sparse | None:
    source: Any = arguments(node)[0]
    part = known[source].part
    axis = next((a for a in range(rank(node)) if axis_kept(node, a) == part.axis), None)
    sizes: Any = list(arguments(node)[1])
    if axis is None or isinstance(sizes[axis], Node):
        return None
    if sizes[axis] != -1:
        sizes[axis] = part.stop - part.start
    return Sparse(
        call(graph, node.target, known[source].inner, sizes), Part(axis, part.start, part.stop)
    )


def _unsqueeze(graph: GraphModule, node: Node, known: Known, cut_of: CutOf) -> Sparse:
    source: Any = arguments(node)[0]
    part, dim = known[source].part, arguments(node)[1] % rank(node)
    axis = part.axis + (part.axis >= dim)
    return Sparse(
        call(graph, node.target, known[source].inner, dim), Part(axis, part.start, part.stop)
    )


def _squeeze(graph: GraphModule, node: Node, known: Known, cut_of: CutOf) -> Sparse | None:
    source: Any = arguments(node)[0]
    part, dim = known[source].part, arguments(node)[1] % rank(source)
    if rank(source) == rank(node) or dim == part.axis:
        return None
    axis = part.axis - (part.axis > dim)
    return Sparse(
        call(graph, node.target, known[source].inner, dim), Part(axis, part.start, part.stop)
    )


def _matrix_product(
    graph: GraphModule, node: Node, known: Known, cut_of: CutOf
) -> Sparse | Node | None:
    """Rows of the left and columns of the right matrix stay apart;
    along the joined axis only the rows count."""
    left, right = arguments(node)
    joined, columns = rank(right) - 2, rank(right) - 1
    if left in known:
        part = known[left].part
        if part.axis == rank(left) - 1:
            return call(graph, node.target, known[left].inner, cut_of(part)(right, joined))
        if part.axis == rank(left) - 2 or rank(right) == 2:
            return Sparse(call(graph, node.target, known[left].inner, right), part)
    if right in known and rank(right) == rank(left):
        part = known[right].part
        if part.axis == columns:
            return Sparse(call(graph, node.target, left, known[right].inner), part)
        if part.axis == joined:
            return call(graph, node.target, cut_of(part)(left, rank(left) - 1), known[right].inner)
    return None


Rule = Callable[[GraphModule, Node, Known, CutOf], Sparse | Node | None]
_LINEAR = (
    aten.mul.Tensor,
    aten.mul.Scalar,
    aten.div.Scalar,
    aten.neg.default,
    own.relu_grad.default,
)
_RULES: dict[Any, Rule] = {
    **dict.fromkeys((*_LINEAR, own.silu_grad.default, own.hardswish_grad.default), _product),
    **dict.fromkeys((aten.add.Tensor, aten.sub.Tensor), _sum),
    **dict.fromkeys((aten.mean.dim, aten.sum.dim_IntList), _reduction),
    **dict.fromkeys((aten.transpose.int, aten.permute.default), _moved),
    **dict.fromkeys((aten.matmul.default, aten.bmm.default), _matrix_product),
    aten.reshape.default: _reshape,
    aten.unsqueeze.default: _unsqueeze,
    aten.squeeze.dim: _squeeze,
}
