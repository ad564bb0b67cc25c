"""Gradients of pieces that were cut from one tensor, put together again."""

from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch.fx import GraphModule, Node

from camport.export.graph import is_call, shape_of
from camport.export.passes.building import call, rank

aten = torch.ops.aten


class Piece(NamedTuple):
    """A tensor padded with zeros on one axis."""

    before: int
    inner: Node
    after: int
    axis: int

    @property
    def length(self) -> Any:
        """How long the tensor is without the zeros."""
        return shape_of(self.inner)[self.axis]


def pads_to_concat(graph: GraphModule) -> int:
    """pad(x) + pad(y) + ..., side by side along one axis, become concat(x, y, ...),
    with one pad where they leave gaps.

    Why: the gradients of `split`, `chunk`, `unbind` and attention's queries, keys and values are
    recorded so. Each pad and each sum writes the whole tensor.

    Requires: shapes in `meta["val"]`; a functional graph.
    Ensures: the same values.
    """
    count = 0
    nodes = graph.graph
    for node in reversed(list(nodes.nodes)):
        if not is_call(node, aten.add.Tensor) or node.kwargs:
            continue
        pieces = _pieces(node, node)
        if pieces is None:
            continue
        pieces.sort(key=lambda piece: piece.before)
        if any(a.before + a.length != b.before for a, b in pairwise(pieces)):
            continue
        axis, before, after = pieces[0].axis, pieces[0].before, pieces[-1].after
        with nodes.inserting_before(node):
            result = call(graph, aten.cat.default, [piece.inner for piece in pieces], axis)
            if before or after:
                pads = [0, 0] * (rank(node) - 1 - axis) + [before, after]
                result = call(graph, aten.constant_pad_nd.default, result, pads, 0.0)
        node.replace_all_uses_with(result)
        count += 1
    nodes.eliminate_dead_code()
    return count


def _pieces(node: Any, top: Node) -> list[Piece] | None:
    """The pads that `node` is a sum of, all on one axis and read nowhere else;
    None if anything else is in it."""
    if not isinstance(node, Node) or (node is not top and len(node.users) > 1):
        return None
    if is_call(node, aten.constant_pad_nd.default):
        piece = _piece(node)
        return None if piece is None else [piece]
    if not is_call(node, aten.add.Tensor) or node.kwargs:
        return None
    sides = [_pieces(side, top) for side in node.args]
    if sides[0] is None or sides[1] is None or sides[0][0].axis != sides[1][0].axis:
        return None
    return sides[0] + sides[1]


def _piece(node: Node) -> Piece | None:
    source: Any = node.args[0]
    pads: Any = node.args[1]
    axes = [i for i in range(0, len(pads), 2) if pads[i] != 0 or pads[i + 1] != 0]
    if any(node.args[2:]) or len(axes) != 1 or not all(isinstance(n, int) and n >= 0 for n in pads):
        return None
    axis = rank(node) - 1 - axes[0] // 2
    if not isinstance(shape_of(source)[axis], int):
        return None
    return Piece(pads[axes[0]], source, pads[axes[0] + 1], axis)
