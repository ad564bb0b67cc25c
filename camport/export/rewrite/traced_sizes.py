"""Sizes in a form that torch.jit.trace keeps symbolic:
calls of ATen overloads turn them into numbers."""

from typing import Any

import torch
from torch.fx import GraphModule, Node

from camport.export.graph import shape_of

aten = torch.ops.aten

_SHAPED = {
    aten.reshape.default: "reshape",
    aten.view.default: "reshape",
    aten._unsafe_view.default: "reshape",
    aten.expand.default: "expand",
    aten.new_zeros.default: "new_zeros",
    aten.new_ones.default: "new_ones",
    aten.new_full.default: "new_full",
    aten.new_empty.default: "new_empty",
    aten.repeat.default: "repeat",
}
"""Operators that take a shape as their second argument, and the methods of tensors that let the
tracer see it."""

_MADE = {
    aten.arange.default: torch.arange,
    aten.arange.start: torch.arange,
    aten.arange.start_step: torch.arange,
    aten.zeros.default: torch.zeros,
    aten.ones.default: torch.ones,
    aten.full.default: torch.full,
    aten.empty.memory_format: torch.empty,
}
"""Operators that make a tensor from numbers, and the functions that let the tracer see those."""


def traced_sizes(graph: GraphModule) -> int:
    """One free length of a shape becomes -1; others are read by `Tensor.size`,
    which the tracer follows.

    Requires: shapes in `meta["val"]`.
    Ensures: no call of an ATen overload has a symbolic size among the arguments listed above.
    """
    count = 0
    for node in list(graph.graph.nodes):
        if not any(_is_size(source) for source in node.all_input_nodes):
            continue
        if node.target in _SHAPED:
            shape = _with_wildcard(node)
            node.op, node.target, node.args = (
                "call_method",
                _SHAPED[node.target],
                (node.args[0], shape, *node.args[2:]),
            )
        elif node.target in _MADE:
            node.target = _MADE[node.target]
        node.kwargs = {
            key: value for key, value in node.kwargs.items() if key not in ("pin_memory", "layout")
        }
        count += 1
    for node in list(graph.graph.nodes):
        if node.target is aten.sym_size.int:
            node.op, node.target = "call_method", "size"
    graph.graph.eliminate_dead_code()
    return count


def _is_size(node: Node) -> bool:
    return isinstance(node.meta.get("val"), torch.SymInt)


def _with_wildcard(node: Node) -> list[Any]:
    """The shape that `node` asks for, its symbolic length as -1 where that means the same."""
    shape: Any = list(node.args[1])  # type: ignore[arg-type]
    free = [axis for axis, length in enumerate(shape) if isinstance(length, Node)]
    if len(free) != 1 or -1 in shape:
        return shape
    source: Any = node.args[0]
    (axis,) = free
    name = _SHAPED[node.target]  # type: ignore[index]
    if name == "expand":
        old = shape_of(source)
        place = axis - (len(shape) - len(old))
        keeps = place >= 0 and not isinstance(old[place], int)
    else:
        keeps = name == "reshape" and 0 not in shape
    return [-1 if i == axis and keeps else length for i, length in enumerate(shape)]
