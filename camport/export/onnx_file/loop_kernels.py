"""Kernels that a loop's body reads from outside, as constants of its own once the file is loaded.

ONNX Runtime brings a convolution into its fast layout only where kernel and bias are constants of
the very graph that the convolution is in; those of an outer graph cost a loop 1.6 times the bare
passes' time. What it computes from outer constants as it loads a file becomes such a constant. So
the body reads them through a Reshape that changes nothing, and the file still holds them once.
"""

from typing import Any

import numpy as np
import onnx_ir as ir

_CONVOLUTIONS = ("Conv", "ConvTranspose")


def own_kernels(model: Any) -> int:
    """Puts the Reshapes in; how many."""
    count = 0
    for node in list(model.graph):
        for attribute in node.attributes.values():
            if attribute.type == ir.AttributeType.GRAPH:
                count += _within(model.graph, attribute.value)
    return count


def _within(outer: Any, body: Any) -> int:
    made: dict[Any, Any] = {}
    for node in [n for n in body if n.op_type in _CONVOLUTIONS]:
        for place, value in enumerate(node.inputs):
            if place == 0 or value is None or outer.initializers.get(value.name) is not value:
                continue
            if value not in made:
                made[value] = _reshaped(outer, body, value)
            node.replace_input_with(place, made[value])
    return len(made)


def _reshaped(outer: Any, body: Any, value: Any) -> Any:
    """`value` through a Reshape whose zeros mean: as it is."""
    name = f"as_it_is_{len(value.shape)}"
    if name not in outer.initializers:
        zeros = ir.tensor(np.zeros(len(value.shape), np.int64), name=name)
        held = ir.Value(
            name=name, shape=ir.Shape([len(value.shape)]), type=ir.TensorType(ir.DataType.INT64)
        )
        held.const_value = zeros
        outer.register_initializer(held)
    node = ir.node("Reshape", [value, outer.initializers[name]])
    node.outputs[0].name, node.outputs[0].type = f"{value.name}.own", value.type
    node.outputs[0].shape = value.shape
    body.insert_before(body[0], node)
    return node.outputs[0]
