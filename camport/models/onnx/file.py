"""What an .onnx file holds, free of onnx's own types: all that the builder reads."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class EngineNode:
    """A node that is not imported, as ONNX stores it.

    Attributes:
        full_name: of the operator, with its domain.
        stored: the node, serialised.
        versions: of the operator sets, by domain.
        inputs: names of values, empty where an optional one is left out.
        outputs: likewise.
    """

    full_name: str
    stored: bytes
    versions: Mapping[str, int]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def model(self, types: Mapping[str, str]) -> bytes:
        """A model of this node alone; `types` are numpy's names for those of its inputs."""
        import numpy as np
        from onnx import NodeProto, ValueInfoProto, helper

        node = NodeProto.FromString(self.stored)
        inputs = [
            helper.make_tensor_value_info(
                name, helper.np_dtype_to_tensor_dtype(np.dtype(kind)), None
            )
            for name, kind in types.items()
        ]
        outputs = [ValueInfoProto(name=name) for name in node.output if name]
        sets = [helper.make_opsetid(domain, version) for domain, version in self.versions.items()]
        graph = helper.make_graph([node], "node", inputs, outputs)
        return helper.make_model(graph, opset_imports=sets, ir_version=10).SerializeToString()


@dataclass(frozen=True)
class FileNode:
    """One node of the graph.

    Attributes:
        op: the operator's name.
        name: the node's own name, may be empty.
        inputs: names of values, empty where an optional one is left out.
        outputs: likewise.
        attributes: numbers, text, lists of them and tensors by name.
        scope: dotted name of the module that it was exported from, where the file tells.
        engine: set where the operator is not imported: what ONNX Runtime runs.
    """

    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]
    scope: str = ""
    engine: EngineNode | None = None

    @property
    def label(self) -> str:
        """How messages name it."""
        return (
            f"node {self.name!r} ({self.op})"
            if self.name
            else f"the {self.op} that makes {self.outputs[0]!r}"
        )


@dataclass(frozen=True)
class Port:
    """A graph input: its name, ONNX type number and sizes; None for what is free."""

    name: str
    type: int
    sizes: tuple[int | None, ...]


@dataclass(frozen=True)
class OnnxFile:
    """A checked file.

    Attributes:
        path: where it lies.
        opset: version of the standard operators.
        nodes: in an order in which they can run.
        inputs: without the initialisers.
        outputs: names of values.
        constants: the initialisers.
        shapes: sizes of values as far as they are known; None for free ones.
        metadata: the file's own properties.
    """

    path: Path
    opset: int
    nodes: list[FileNode]
    inputs: list[Port]
    outputs: list[str]
    constants: dict[str, Tensor]
    shapes: dict[str, tuple[int | None, ...]] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)
