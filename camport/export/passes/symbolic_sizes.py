"""Symbolic sizes: element counts as products of lengths, and each length read at one place."""

import operator
from typing import Any

import torch
from torch.fx import GraphModule, Node

from camport.export.graph import shape_of

aten = torch.ops.aten


def counts_to_products(graph: GraphModule) -> int:
    """sym_numel(x) becomes sym_size(x, 0) · sym_size(x, 1) · ...,
    lengths that are known as numbers.

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


def sizes_of_inputs(graph: GraphModule) -> int:
    """Every symbolic size that is a multiple of an input's length becomes that length times a
    number.

    Why: reading the length of an intermediate keeps it alive as a whole when a part of it would do,
    and what is known to be equal is computed once.

    Requires: sizes in `meta["val"]`.
    Ensures: no size is read twice, or from an intermediate where an input has it.
    """
    nodes = graph.graph
    known: dict[str, Node] = {}
    for node in list(nodes.nodes):
        if node.op == "placeholder":
            last = node
            for axis, length in enumerate(
                shape_of(node) if hasattr(node.meta.get("val"), "shape") else ()
            ):
                if isinstance(length, int) or str(length) in known:
                    continue
                with nodes.inserting_after(last):
                    size = nodes.call_function(aten.sym_size.int, (node, axis))
                size.meta["val"] = length
                known[str(length)] = size
    if known:
        _after_inputs(graph, known)
    count = 0
    for node in list(nodes.nodes):
        value = node.meta.get("val")
        if not isinstance(value, torch.SymInt) or node in known.values():
            continue
        with nodes.inserting_before(node):
            found = known.get(str(value)) or _multiple(graph, known, value)
        if found is None:
            known[str(value)] = node
            continue
        node.replace_all_uses_with(found)
        nodes.erase_node(node)
        count += 1
    return count


def _after_inputs(graph: GraphModule, sizes: dict[str, Node]) -> None:
    """Moves reads of sizes behind the last placeholder: a graph's inputs come first."""
    *_, last = (node for node in graph.graph.nodes if node.op == "placeholder")
    for size in sizes.values():
        last.append(size)


def _multiple(graph: GraphModule, known: dict[str, Node], value: torch.SymInt) -> Node | None:
    """`value` as a known size times a number; None where it is none of them."""
    factor, rest = value.node.expr.as_coeff_Mul()
    base = known.get(str(rest))
    if base is None or not factor.is_Integer:
        return None
    size = graph.graph.call_function(operator.mul, (base, int(factor)))
    size.meta["val"] = value
    known[str(value)] = size
    return size
