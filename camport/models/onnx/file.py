"""What an .onnx file holds, free of onnx's own types: all that the builder reads."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor


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
    """

    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]
    scope: str = ""

    @property
    def label(self) -> str:
        """How messages name it."""
        return f"node {self.name!r} ({self.op})" if self.name else f"the {self.op} that makes {self.outputs[0]!r}"


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
