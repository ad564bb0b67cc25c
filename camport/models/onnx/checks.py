"""Whether a graph is sound and made of operators that are imported;
each doubt is one clear ModelError."""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from camport.errors import ModelError
from camport.models.onnx.catalogue import find
from camport.models.onnx.engine import can_run
from camport.models.onnx.order import sort_nodes
from camport.models.onnx.qlinear import is_integer_operator

DEEPEST = 32
"""Functions of a file may call others this deep."""


def check_graph(proto: Any, where: str) -> Any:
    """The model with its own functions written out and the shapes and types of all values inferred.

    Raises:
        ModelError: cyclic, ill-formed, or with types that do not fit their operators.
    """
    from onnx import checker, inliner, shape_inference

    for graph in (proto.graph, *proto.functions):
        sort_nodes(graph)
    if any(not value.type.tensor_type.HasField("shape") for value in proto.graph.output):
        # the checker wants shapes of the outputs,
        # which many files leave out and every engine infers
        with suppress(Exception):
            proto = shape_inference.infer_shapes(proto)
    try:
        checker.check_model(proto)
    except Exception as error:  # onnx raises its own and protobuf's errors
        text = _first_line(error)
        if "topologically sorted" in str(error) or "cyclic" in text.lower():
            text = "its nodes form a cycle"
        raise ModelError(f"{where} is not a valid ONNX model: {text}") from None
    if len(proto.functions):
        _check_depth(proto, where)
        try:
            proto = inliner.inline_local_functions(proto)
        except Exception as error:
            raise ModelError(
                f"{where}: its functions cannot be written out: {_first_line(error)}"
            ) from None
    try:
        return shape_inference.infer_shapes(
            proto, check_type=True, strict_mode=False, data_prop=True
        )
    except Exception as error:
        raise ModelError(f"{where}: types or shapes do not fit: {_first_line(error)}") from None


def unknown(node: Any, opset: int) -> str | None:
    """The full name of an operator that is not imported; None where it is."""
    standard = node.domain in ("", "ai.onnx")
    if is_integer_operator(node):
        return None
    if standard and find(node.op_type, opset) is not None:
        return None
    return node.op_type if standard else f"{node.domain}.{node.op_type}"


def check_known(nodes: Iterable[Any], opset: int, path: Path) -> None:
    """ModelError where operators are neither imported nor run by ONNX Runtime; each is named,
    and where it stands."""
    missing: dict[str, list[str]] = {}
    nested = False
    for node in nodes:
        full = unknown(node, opset)
        if full is not None:
            missing.setdefault(full, []).append(
                node.name or (node.output[0] if node.output else "unnamed")
            )
            nested = nested or any(a.HasField("g") or len(a.graphs) for a in node.attribute)
    if not missing or (not nested and can_run(path)):
        return
    listed = "; ".join(
        f"{op} (node {names[0]!r}{f' and {len(names) - 1} more' if len(names) > 1 else ''})"
        for op, names in missing.items()
    )
    why = (
        "which hold graphs of their own"
        if nested
        else "and ONNX Runtime does not run the file either"
    )
    raise ModelError(
        f"{path.name} uses operators that camport does not import: {listed}, {why}. Export the"
        " model again without them"
    )


def _check_depth(proto: Any, where: str) -> None:
    """Functions that call each other in a circle, or double at every level,
    would be written out without end."""
    bodies = {(f.domain, f.name): f for f in proto.functions}
    sizes: dict[tuple[str, str], int] = {}

    def size(key: tuple[str, str], depth: int) -> int:
        if depth > DEEPEST:
            raise ModelError(
                f"{where}: function {key[1]!r} calls others without end, or deeper than {DEEPEST}"
            )
        if key not in sizes:
            called = ((node.domain, node.op_type) for node in bodies[key].node)
            sizes[key] = sum(size(c, depth + 1) if c in bodies else 1 for c in called)
        return sizes[key]

    called = ((node.domain, node.op_type) for node in proto.graph.node)
    total = sum(size(c, 1) if c in bodies else 1 for c in called)
    if total > 1_000_000:
        raise ModelError(
            f"{where}: written out, its functions have {total} nodes; that is no network"
        )


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300]
