"""Following an axis of a result back to the operator's inputs:
what a part of the result is computed from."""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.fx import GraphModule, Node

from camport.export.graph import is_call, shape_of
from camport.export.passes.building import arguments, call, rank, same

aten, own = torch.ops.aten, torch.ops.camport

POINTWISE = {
    *(
        aten.add.Tensor,
        aten.sub.Tensor,
        aten.mul.Tensor,
        aten.div.Tensor,
        aten.add.Scalar,
        aten.sub.Scalar,
    ),
    *(
        aten.mul.Scalar,
        aten.div.Scalar,
        aten.neg.default,
        aten.pow.Tensor_Scalar,
        aten.sqrt.default,
    ),
    *(
        aten.rsqrt.default,
        aten.exp.default,
        aten.erf.default,
        aten.tanh.default,
        aten.sigmoid.default,
    ),
    *(
        aten.relu.default,
        aten.gelu.default,
        aten.silu.default,
        aten.hardswish.default,
        aten.hardtanh.default,
    ),
    *(aten.clamp.default, aten.where.self, aten._to_copy.default),
    *(own.relu_grad.default, own.silu_grad.default, own.hardswish_grad.default),
}
"""Operators that compute each element from the elements at the same place, broadcast."""

REDUCTIONS = {aten.mean.dim, aten.sum.dim_IntList, aten.amax.default, aten.amin.default}
"""Operators whose second argument names the axes that they join."""


@dataclass(frozen=True)
class Part:
    """Places `start` ... `stop` - 1 of one axis."""

    axis: int
    start: int
    stop: int


Cut = Callable[[Node, int], Node]
"""Takes the same places of another node along the axis given."""


def narrowed(graph: GraphModule, node: Node, part: Part, cut: Cut) -> Node | None:
    """A node that computes that part of `node` from parts of its inputs,
    or None where all of them are needed.

    Args:
        graph: where to write; the insertion point is the caller's.
        node: whose part is wanted.
        part: which.
        cut: gives the same part of an input, along the axis of its own that the result's axis comes
            from.
    """
    if node.op != "call_function":
        return None
    target: Any = node.target
    if target in POINTWISE:
        operands = [
            broadcast(a, node, part, cut) if isinstance(a, Node) else a for a in arguments(node)
        ]
        return call(graph, target, *operands, **node.kwargs)
    rule = _RULES.get(target)
    return None if rule is None else rule(graph, node, part, cut)


def broadcast(operand: Node, result: Node, part: Part, cut: Cut) -> Node:
    """What of a broadcast operand meets that part of the result."""
    axis = part.axis - (rank(result) - rank(operand))
    if axis < 0 or not same(shape_of(operand)[axis], shape_of(result)[part.axis]):
        return operand
    return cut(operand, axis)


def _reduction(graph: GraphModule, node: Node, part: Part, cut: Cut) -> Node | None:
    source, dims, *rest = arguments(node)
    return _again(graph, node, cut(source, axis_before(node, part.axis)), dims, *rest)


def axis_before(node: Node, axis: int) -> int:
    """The input's axis that is axis `axis` of a reduction's result."""
    source, dims, *rest = arguments(node)
    joined = {d % rank(source) for d in ([dims] if isinstance(dims, int) else dims)}
    if rest and rest[0]:
        return axis
    kept = [a for a in range(rank(source)) if a not in joined]
    return kept[axis]


def _softmax(graph: GraphModule, node: Node, part: Part, cut: Cut) -> Node | None:
    source, dim, *rest = arguments(node)
    if dim % rank(node) == part.axis:
        return None
    return _again(graph, node, cut(source, part.axis), dim, *rest)


def _transposed(graph: GraphModule, node: Node, part: Part, cut: Cut) -> Node | None:
    return _again(
        graph, node, cut(arguments(node)[0], permutation(node)[part.axis]), *arguments(node)[1:]
    )


def permutation(node: Node) -> list[int]:
    """Which axis of the input each axis of a transpose or permute is."""
    order = list(range(rank(node)))
    if is_call(node, aten.permute.default):
        return [axis % len(order) for axis in arguments(node)[1]]
    a, b = (
        (0, 1)
        if is_call(node, aten.t.default)
        else (axis % len(order) for axis in arguments(node)[1:3])
    )
    order[a], order[b] = order[b], order[a]
    return order


def _unsqueeze(graph: GraphModule, node: Node, part: Part, cut: Cut) -> Node | None:
    dim = arguments(node)[1] % rank(node)
    if dim == part.axis:
        return None
    return _again(
        graph, node, cut(arguments(node)[0], part.axis - (part.axis > dim)), arguments(node)[1]
    )


def _squeeze(graph: GraphModule, node: Node, part: Part, cut: Cut) -> Node | None:
    source: Any = arguments(node)[0]
    dim = arguments(node)[1] % rank(source)
    if rank(source) == rank(node):
        return None
    return _again(graph, node, cut(source, part.axis + (part.axis >= dim)), dim)


def _reshape(graph: GraphModule, node: Node, part: Part, cut: Cut) -> Node | None:
    source: Any = arguments(node)[0]
    axis = axis_kept(node, part.axis)
    sizes: Any = list(arguments(node)[1])
    if axis is None or isinstance(sizes[part.axis], Node):
        return None
    if sizes[part.axis] != -1:
        sizes[part.axis] = part.stop - part.start
    return _again(graph, node, cut(source, axis), sizes)


def axis_kept(node: Node, axis: int) -> int | None:
    """The input's axis that a reshape keeps as axis `axis` of its result, or None."""
    result, source = shape_of(node), shape_of(arguments(node)[0])
    before = _product(result[:axis])
    for place, length in enumerate(source):
        if same(_product(source[:place]), before) and same(length, result[axis]) and length != 1:
            return place
    return None


def _product(lengths: tuple[Any, ...]) -> Any:
    product: Any = 1
    for n in lengths:
        product = product * n
    return product


def _expand(graph: GraphModule, node: Node, part: Part, cut: Cut) -> Node | None:
    sizes: Any = list(arguments(node)[1])
    if isinstance(sizes[part.axis], Node):
        return None
    if sizes[part.axis] != -1:
        sizes[part.axis] = part.stop - part.start
    return _again(graph, node, broadcast(arguments(node)[0], node, part, cut), sizes)


def _pad(graph: GraphModule, node: Node, part: Part, cut: Cut) -> Node | None:
    """Zeros around another axis; none of those on this axis may be read."""
    pads: Any = arguments(node)[1]
    place = 2 * (rank(node) - 1 - part.axis)
    before, after = pads[place : place + 2] if place < len(pads) else (0, 0)
    if before != 0 or after != 0:
        return None
    return _again(graph, node, cut(arguments(node)[0], part.axis), *arguments(node)[1:])


def _matmul(graph: GraphModule, node: Node, part: Part, cut: Cut) -> Node | None:
    """Over a matrix [c, d]: rows alone; columns are the weight's."""
    left, right = arguments(node)
    if rank(right) != 2 or part.axis == rank(node) - 1:
        return None
    return _again(graph, node, cut(left, part.axis), right)


def _bmm(graph: GraphModule, node: Node, part: Part, cut: Cut) -> Node | None:
    left, right = arguments(node)
    if part.axis == 1:
        return _again(graph, node, cut(left, 1), right)
    return _again(graph, node, left, cut(right, 2)) if part.axis == 2 else None


def _norm(graph: GraphModule, node: Node, part: Part, cut: Cut) -> Node | None:
    """One result of a layer norm, whose three results keep the axes before those that are
    normalised."""
    norm, index = arguments(node)
    if not is_call(norm, aten.native_layer_norm.default):
        return None
    source, normalized, *rest = arguments(norm)
    if part.axis >= rank(source) - len(normalized):
        return None
    return call(
        graph,
        operator.getitem,
        _again(graph, norm, cut(source, part.axis), normalized, *rest),
        index,
    )


def _again(graph: GraphModule, node: Node, *args: Any) -> Node:
    return call(graph, node.target, *args, **node.kwargs)


_RULES: dict[Any, Callable[[GraphModule, Node, Part, Cut], Node | None]] = {
    **dict.fromkeys(REDUCTIONS, _reduction),
    **dict.fromkeys((aten._softmax.default, aten._log_softmax.default), _softmax),
    **dict.fromkeys((aten.transpose.int, aten.permute.default, aten.t.default), _transposed),
    aten.unsqueeze.default: _unsqueeze,
    aten.squeeze.dim: _squeeze,
    aten.reshape.default: _reshape,
    aten.expand.default: _expand,
    aten.constant_pad_nd.default: _pad,
    aten.matmul.default: _matmul,
    aten.bmm.default: _bmm,
    operator.getitem: _norm,
}
