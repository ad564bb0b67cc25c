"""From a file on disk to an `OnnxFile`, every doubt settled on the way;
the only module that imports onnx."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from camport.errors import MissingDependencyError, ModelError
from camport.models.onnx.checks import check_graph, check_known, unknown
from camport.models.onnx.file import EngineNode, FileNode, OnnxFile, Port
from camport.models.onnx.scopes import scope_of
from camport.models.onnx.tensors import check_tensor, read_tensor

LARGEST = 2**31 - 1
"""Bytes that protobuf reads; larger models keep their weights in external data."""

SMALL = 4096
"""Tensors up to this many bytes stay in the graph while it is checked:
they may be sizes that shapes depend on."""


def read_file(path: Path) -> OnnxFile:
    """Reads and checks a file; nothing is allocated that the file does not hold.

    Raises:
        ModelError: no such file, no ONNX, damaged, hostile, or with operators that nothing here
            runs.
        MissingDependencyError: onnx is not installed.
    """
    proto = _parse(path)
    where, folder = path.name, path.parent
    graph = proto.graph
    if len(graph.sparse_initializer):
        raise ModelError(
            f"{where} has sparse initialisers, which are not imported; save it with dense ones"
        )
    for tensor in _tensors(graph):
        check_tensor(tensor, folder, where)
    stored = {tensor.name: tensor for tensor in graph.initializer}
    opset = _opset(proto, where)
    proto = check_graph(_set_aside(proto), where)
    graph = proto.graph
    check_known(graph.node, opset, path)
    versions = {entry.domain: entry.version for entry in proto.opset_import}
    nodes = [
        (
            _node(node, folder, where)
            if (name := unknown(node, opset)) is None
            else _engine_node(node, name, versions)
        )
        for node in graph.node
    ]
    given = [value for value in graph.input if value.name not in stored]
    return OnnxFile(
        path=path,
        opset=opset,
        nodes=nodes,
        inputs=[Port(v.name, v.type.tensor_type.elem_type, _sizes(v) or ()) for v in given],
        outputs=[value.name for value in graph.output],
        constants={name: read_tensor(tensor, folder, where) for name, tensor in stored.items()},
        shapes=_shapes(graph),
        metadata={entry.key: entry.value for entry in proto.metadata_props},
    )


def _parse(path: Path) -> Any:
    try:
        import onnx
    except ImportError as error:
        raise MissingDependencyError(
            'reading an .onnx file needs: pip install "camport[torch]"'
        ) from error
    if not path.is_file():
        what = (
            "is a directory"
            if path.is_dir()
            else "is no regular file"
            if path.exists()
            else "does not exist"
        )
        raise ModelError(f"model {path} {what}; name an .onnx file")
    size = path.stat().st_size
    if size > LARGEST:
        raise ModelError(
            f"model {path} has {size} bytes; above 2 GB the weights must be saved as external data"
        )
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(path.read_bytes())
    except OSError as error:
        raise ModelError(f"model {path} cannot be read: {error}") from None
    except Exception:  # protobuf has several decode errors
        raise ModelError(f"model {path} is no ONNX file, or is truncated") from None
    if not proto.ir_version or not len(proto.graph.node):
        raise ModelError(f"model {path} is no ONNX file: it holds no graph with operators")
    return proto


def _opset(proto: Any, where: str) -> int:
    for imported in proto.opset_import:
        if imported.domain in ("", "ai.onnx"):
            if imported.version < 7:
                raise ModelError(
                    f"{where} is of opset {imported.version}; 7 and later are imported, convert it"
                )
            return int(imported.version)
    raise ModelError(f"{where} names no version of ONNX's standard operators")


def _tensors(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors


def _set_aside(proto: Any) -> Any:
    """The model with large initialisers as inputs,
    so that checking copies little and fits protobuf's limit."""
    from onnx import helper

    graph = proto.graph
    present = {value.name for value in graph.input}
    kept = []
    for tensor in graph.initializer:
        if len(tensor.raw_data) <= SMALL and tensor.data_location != 1:
            kept.append(tensor)
        elif tensor.name not in present:
            graph.input.append(
                helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
            )
    del graph.initializer[:]
    graph.initializer.extend(kept)
    return proto


def _node(node: Any, folder: Path, where: str) -> FileNode:
    from onnx import helper

    attributes: dict[str, Any] = {}
    for attribute in node.attribute:
        if attribute.HasField("t"):
            attributes[attribute.name] = read_tensor(attribute.t, folder, where)
            continue
        if attribute.type not in (1, 2, 3, 6, 7, 8):  # numbers, text and lists of them
            raise ModelError(
                f"{where}: attribute {attribute.name!r} of node {node.name!r} is of a kind not"
                " imported"
            )
        value = helper.get_attribute_value(attribute)
        value = value.decode(errors="replace") if isinstance(value, bytes) else value
        attributes[attribute.name] = value if isinstance(value, (int, float, str)) else list(value)
    return FileNode(
        node.op_type, node.name, tuple(node.input), tuple(node.output), attributes, scope_of(node)
    )


def _engine_node(node: Any, name: str, versions: dict[str, int]) -> FileNode:
    inputs, outputs = tuple(node.input), tuple(node.output)
    engine = EngineNode(name, node.SerializeToString(), versions, inputs, outputs)
    return FileNode(node.op_type, node.name, inputs, outputs, {}, scope_of(node), engine)


def _sizes(value: Any) -> tuple[int | None, ...] | None:
    kind = value.type.tensor_type
    if not kind.HasField("shape"):
        return None
    return tuple(
        d.dim_value if d.HasField("dim_value") and d.dim_value > 0 else None for d in kind.shape.dim
    )


def _shapes(graph: Any) -> dict[str, tuple[int | None, ...]]:
    found = {}
    for value in (*graph.input, *graph.value_info, *graph.output):
        sizes = _sizes(value)
        if sizes is not None:
            found[value.name] = sizes
    return found
