"""Loops as torch's `scan`, which torch.export keeps and torch.onnx writes as ONNX Scan."""

import operator
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx import Graph, GraphModule, Node

from camport.export.capture.loops import LOOP, Body, bodies
from camport.export.graph import compile_graph, constants, free_name, is_call, set_buffer, state_of


def loops_to_scans(graph: GraphModule) -> int:
    """Every `camport::loop` becomes a scan whose body takes the constants it reads as further
    inputs.

    Ensures: a constant that graph and bodies share, or that only has equal values, is held once.
    """
    found = bodies(graph)
    for node in [n for n in graph.graph.nodes if is_call(n, LOOP)]:
        codes, values, start, number = node.args
        body = found[number]
        name = free_name(graph, "loop_body")
        with graph.graph.inserting_before(node):
            held = _hold(graph, body)
            shared = [graph.graph.get_attr(constant) for constant in dict.fromkeys(held)]
            graph.add_submodule(name, _combine(body, len(codes), held, values, start is None))
            if start is None:
                carry = free_name(graph, "loop_carry")
                set_buffer(graph, carry, torch.zeros(()))
                start_or_carry = graph.graph.get_attr(carry)
            else:
                start_or_carry = start
            scan = graph.graph.call_function(
                torch.ops.higher_order.scan,
                (
                    graph.graph.get_attr(name),
                    [start_or_carry],
                    list(codes),
                    (*shared, *dict.fromkeys(values)),
                ),
            )
            result = graph.graph.call_function(
                operator.getitem, (scan, 0 if start is not None else 1)
            )
        result.meta = dict(node.meta)
        node.replace_all_uses_with(result)
        graph.graph.erase_node(node)
    compile_graph(graph)
    return len(found)


def _hold(graph: GraphModule, body: Body) -> list[str]:
    """The names under which `graph` holds the constants of `body`, in their order;
    missing ones are added."""
    names = []
    for name, value in state_of(body.graph).items():
        held = next((n for n, v in graph.named_buffers() if _equal(v, value)), None)
        if held is None:
            held = free_name(graph, name)
            set_buffer(graph, held, value)
        names.append(held)
    return names


def _equal(a: Tensor, b: Tensor) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    return a.data_ptr() == b.data_ptr() or torch.equal(a, b)


def _combine(
    body: Body, codes: int, held: Sequence[str], values: Sequence[Node], stacks: bool
) -> GraphModule:
    """`(carry, *codes, *constants, *values) -> (carry, result)`, or `(carry + result,)`.

    What is given twice, a constant that is `held` for two or a value, is taken once: scan takes no
    aliases.
    """
    new = Graph()
    old = [node for node in body.graph.graph.nodes if node.op == "placeholder"]
    copies: dict[Node, Node] = {}
    carry = new.placeholder("carry")

    def inputs(names: list[str], nodes: list[Node]) -> None:
        for name, node in zip(names, nodes, strict=True):
            copies[node] = new.placeholder(name)
            copies[node].meta = dict(node.meta)

    inputs([n.name for n in old[:codes]], old[:codes])
    constant = {
        name: new.placeholder(f"constant_{i}") for i, name in enumerate(dict.fromkeys(held))
    }
    read = {own: constant[name] for own, name in zip(state_of(body.graph), held, strict=True)}
    for node in constants(body.graph):
        copies[node] = read[str(node.target)]
        copies[node].meta = dict(node.meta)
    taken: dict[Node, Node] = {}
    for node, value in zip(old[codes:], values, strict=True):
        if value in taken:
            copies[node] = taken[value]
        else:
            inputs([node.name], [node])
            taken[value] = copies[node]
    for node in body.graph.graph.nodes:
        if node.op == "output":
            (result,) = node.args[0]
            done = copies[result]
            if stacks:
                outputs: Any = (new.call_function(torch.ops.aten.clone.default, (carry,)), done)
            else:
                outputs = (new.call_function(torch.ops.aten.add.Tensor, (carry, done)),)
            new.output(outputs)
        elif node not in copies:
            copies[node] = new.node_copy(node, lambda n: copies[n])
    return compile_graph(GraphModule(torch.nn.Module(), new))


def unroll_loops(graph: GraphModule) -> int:
    """Every `camport::loop` becomes its turns one after the other, for formats without loops."""
    found = bodies(graph)
    for node in [n for n in graph.graph.nodes if is_call(n, LOOP)]:
        codes, values, start, number = node.args
        body = found[number]
        held = dict(zip(state_of(body.graph), _hold(graph, body), strict=True))
        turns = codes[0].meta["val"].shape[0]
        with graph.graph.inserting_before(node):
            results: list[Node] = []
            for i in range(turns):
                chunk = [
                    graph.graph.call_function(torch.ops.aten.select.int, (code, 0, i))
                    for code in codes
                ]
                result = _inline(graph, body, [*chunk, *values], held)
                if start is None:
                    results.append(result)
                else:
                    start = graph.graph.call_function(torch.ops.aten.add.Tensor, (start, result))
            if start is None:
                start = graph.graph.call_function(torch.ops.aten.stack.default, (results,))
        start.meta = dict(node.meta)
        node.replace_all_uses_with(start)
        graph.graph.erase_node(node)
    compile_graph(graph)
    return len(found)


def _inline(graph: GraphModule, body: Body, arguments: list[Node], held: dict[str, str]) -> Node:
    """A copy of the body's nodes at the insertion point; its result."""
    copies: dict[Node, Node] = {}
    given = iter(arguments)
    for node in body.graph.graph.nodes:
        if node.op == "placeholder":
            copies[node] = next(given)
        elif node.op == "get_attr":
            copies[node] = graph.graph.get_attr(held[str(node.target)])
            copies[node].meta = dict(node.meta)
        elif node.op == "output":
            return copies[node.args[0][0]]
        else:
            copies[node] = graph.graph.node_copy(node, lambda n: copies[n])
    raise AssertionError("a graph without an output")
