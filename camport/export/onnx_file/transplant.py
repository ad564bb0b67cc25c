"""Putting one graph into another."""

from typing import Any

import onnx
import onnx_ir as ir


def transplant(model: ir.Model, part: onnx.ModelProto, name: str) -> tuple[list[Any], list[Any]]:
    """Appends the nodes of `part` to the model's graph,
    their values called `name.` and what they were.

    Returns: the part's inputs, which nothing makes yet, and its outputs, named as in the part.
    Where other nodes of the model will read those, `model.graph.sort()` puts all in order.
    """
    own = onnx.ModelProto()
    own.CopyFrom(part)  # names are written through
    graph = ir.from_proto(own).graph
    inputs, outputs = list(graph.inputs), list(graph.outputs)
    constants, nodes = list(graph.initializers.values()), list(graph)
    for value in [*constants, *(v for node in nodes for v in node.outputs if v not in outputs)]:
        value.name = f"{name}.{value.name}"
    graph.inputs.clear()
    graph.outputs.clear()
    graph.initializers.clear()
    for constant in constants:
        model.graph.register_initializer(constant)
    graph.remove(nodes)
    for node in nodes:
        node.name = f"{name}.{node.op_type}_{node.outputs[0].name}"
    model.graph.extend(nodes)
    return inputs, outputs
