"""Square matrices that a graph multiplies with both as they are and transposed:
forward and backward of one layer.

OpenVINO's CPU plugin (seen in 2026.4.1) packs such a constant once and takes the packed one for
both, which have the same shape: the gradient behind an attention's output projection is then a
different matrix's.
"""

from typing import Any

import onnx_ir as ir

PRODUCTS = ("MatMul", "Gemm")


def part_square_matrices(model: ir.Model) -> int:
    """x W becomes (-x) (-W) where W is a square constant that is also used transposed;
    returns at how many places.

    The result is the same to the last bit. -W is computed once while an engine loads the file, in
    which W stays alone.
    """
    count = 0
    for weight in list(model.graph.initializers.values()):
        if weight.shape is None or len(weight.shape) != 2 or weight.shape[0] != weight.shape[1]:
            continue
        plain = [
            node
            for node, place in weight.uses()
            if _is_factor(node, place) and not _transposes(node)
        ]
        if not plain or not any(_is_transposed(node, place) for node, place in weight.uses()):
            continue
        negative = ir.node("Neg", [weight])
        _describe(negative, weight)
        model.graph.insert_before(model.graph[0], negative)
        for node in plain:
            factor: Any = node.inputs[0]
            turned = ir.node("Neg", [factor])
            _describe(turned, factor)
            assert node.graph is not None
            node.graph.insert_before(node, turned)
            node.replace_input_with(0, turned.outputs[0])
            node.replace_input_with(1, negative.outputs[0])
            count += 1
    return count


def _is_factor(node: ir.Node, place: int) -> bool:
    return node.op_type in PRODUCTS and place == 1


def _transposes(node: ir.Node) -> bool:
    return node.op_type == "Gemm" and bool(node.attributes.get_int("transB", 0))


def _is_transposed(node: ir.Node, place: int) -> bool:
    """Whether this use of a matrix is a product with its transpose."""
    if node.op_type == "Transpose":
        return any(_is_factor(*use) for use in node.outputs[0].uses())
    return _is_factor(node, place) and _transposes(node)


def _describe(node: ir.Node, like: ir.Value) -> None:
    node.outputs[0].type, node.outputs[0].shape = like.type, like.shape
