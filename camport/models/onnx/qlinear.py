"""Integer operators (QOperator format) written out: dequantise, compute, quantise.

A quantised tensor q means the real numbers (q - zero point) · scale. Its name in the file stands
for these here, so that a layer's maps are real numbers and not levels; what reads the levels
themselves is given them. The gradient goes straight through the rounding, as it does through
QuantizeLinear.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from camport.models.onnx.file import FileNode, OnnxFile

MICROSOFT = "com.microsoft"
TYPES = {torch.uint8: 2, torch.int8: 3, torch.int16: 5, torch.int32: 6}
"""ONNX's numbers of the types that levels have."""


@dataclass(frozen=True)
class Form:
    """Where an integer operator has its inputs, by position.

    Attributes:
        op: the operator that it computes on real numbers.
        terms: positions of quantised inputs; scale and zero point follow each.
        scale: position of the output's scale, its zero point behind it.
        plain: positions of inputs that are not quantised.
        axes: of the terms' scales where there is one a channel.
        bias: position of integers in units of the terms' scales.
    """

    op: str
    terms: tuple[int, ...]
    scale: int
    plain: tuple[int, ...] = ()
    axes: tuple[int, ...] = (1, 1)
    bias: int | None = None


STANDARD = {
    "QLinearConv": Form("Conv", (0, 3), 6, axes=(1, 0), bias=8),
    "QLinearMatMul": Form("MatMul", (0, 3), 6, axes=(-2, -1)),
}
CONTRIBUTED = {
    "QGemm": Form("Gemm", (0, 3), 7, axes=(0, 1), bias=6),
    "QLinearAdd": Form("Add", (0, 3), 6),
    "QLinearAveragePool": Form("AveragePool", (0,), 3),
    "QLinearGlobalAveragePool": Form("GlobalAveragePool", (0,), 3),
    "QLinearLeakyRelu": Form("LeakyRelu", (0,), 3),
    "QLinearMul": Form("Mul", (0, 3), 6),
    "QLinearReduceMean": Form("ReduceMean", (0,), 3),
    "QLinearSigmoid": Form("Sigmoid", (0,), 3),
    "QLinearSoftmax": Form("Softmax", (0,), 3),
    "QLinearWhere": Form("Where", (1, 4), 7, plain=(0,)),
}
CONCAT = "QLinearConcat"
"""Scale and zero point of the output first, then any number of terms."""

# fmt: off
MOVING = frozenset([
    "MaxPool", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Slice", "Split",
    "Gather", "GatherND", "GatherElements", "Expand", "Tile", "DepthToSpace", "SpaceToDepth",
])
# fmt: on
"""Operators that only move levels, so that they may move the real numbers instead."""


def is_integer_operator(node: Any) -> bool:
    """Whether a node of onnx's is one of these, in a form that is written out."""
    if any(a.name == "channels_last" and a.i for a in node.attribute):
        return False
    if node.domain == MICROSOFT:
        return node.op_type in CONTRIBUTED or node.op_type == CONCAT
    return node.domain in ("", "ai.onnx") and node.op_type in STANDARD


def in_real_numbers(file: OnnxFile) -> OnnxFile:
    """The file with its integer operators written out;
    the same file where it has none and no foreign nodes."""
    integer = {*STANDARD, *CONTRIBUTED, CONCAT}
    if not any(node.engine or node.op in integer for node in file.nodes):
        return file
    return _Writer(file).written()


class _Writer:
    """Goes through the nodes once. `params` are the scale and zero point of each name that stands
    for real numbers."""

    def __init__(self, file: OnnxFile) -> None:
        self.file = file
        self.nodes: list[FileNode] = []
        self.params: dict[str, tuple[str, str]] = {}
        self.levels: dict[str, str] = {}
        self.made: dict[tuple[str, ...], str] = {}

    def written(self) -> OnnxFile:
        """The file."""
        for node in self.file.nodes:
            form = None if node.engine else STANDARD.get(node.op) or CONTRIBUTED.get(node.op)
            if form is not None:
                self._compute(
                    node, form.op, *self._arguments(node, form), *_pair(node.inputs, form.scale)
                )
            elif node.op == CONCAT and not node.engine:
                terms = [self._real(*node.inputs[i : i + 3]) for i in range(2, len(node.inputs), 3)]
                self._compute(node, "Concat", terms, dict(node.attributes), *node.inputs[:2])
            elif node.op == "QuantizeLinear":
                self._quantised(node, node.inputs[0], *_pair(node.inputs, 1), node.attributes)
            elif node.op == "DequantizeLinear" and self.params.get(node.inputs[0]) == _pair(
                node.inputs, 1
            ):
                self.nodes.append(
                    replace(node, op="Identity", inputs=node.inputs[:1], attributes={})
                )
            elif node.op in MOVING and node.inputs[0] in self.params:
                self._moved(node)
            else:
                taken = tuple(
                    self._integers(n) if node.engine else self._as_stored(n) for n in node.inputs
                )
                self.nodes.append(replace(node, inputs=taken))
        outputs = [self._as_stored(name) for name in self.file.outputs]
        return replace(self.file, nodes=self.nodes, outputs=outputs)

    def _arguments(self, node: FileNode, form: Form) -> tuple[list[str], dict[str, Any]]:
        """The operator's inputs as real numbers, and its attributes."""
        attributes = {
            k: v for k, v in node.attributes.items() if k not in ("channels_last", "opset")
        }
        axes = (0, 0) if attributes.get("transB") else form.axes
        inputs = [node.inputs[i] for i in form.plain]
        for i, axis in zip(form.terms, axes, strict=False):
            inputs.append(self._real(*node.inputs[i : i + 3], axis=axis))
        if form.bias is not None and form.bias < len(node.inputs) and node.inputs[form.bias]:
            scale = self._make("Mul", [node.inputs[t + 1] for t in form.terms])
            if attributes.get("alpha", 1) != 1:
                inputs.append(
                    self._make("DequantizeLinear", [node.inputs[form.bias], scale], axis=-1)
                )
                # the bias is in units of alpha · scales,
                # and Gemm multiplies the product alone by alpha
                attributes["beta"] = attributes["alpha"]
            else:
                axis = 0 if node.op == "QLinearConv" else -1
                inputs.append(
                    self._make("DequantizeLinear", [node.inputs[form.bias], scale], axis=axis)
                )
        return inputs, attributes

    def _compute(
        self,
        node: FileNode,
        op: str,
        inputs: Sequence[str],
        attributes: dict[str, Any],
        scale: str,
        zero: str,
    ) -> None:
        (output,) = node.outputs
        if not scale:  # a QGemm may put out real numbers
            self.nodes.append(
                FileNode(op, node.name, tuple(inputs), (output,), attributes, node.scope)
            )
            return
        exact = f"{output}:exact"
        self.nodes.append(
            FileNode(
                op, f"{node.name or output}:{op}", tuple(inputs), (exact,), attributes, node.scope
            )
        )
        self._quantised(node, exact, scale, zero, {})

    def _quantised(
        self, node: FileNode, exact: str, scale: str, zero: str, attributes: dict[str, Any]
    ) -> None:
        """Rounds `exact` to levels and back; the file's name stands for what comes back."""
        (output,) = node.outputs
        parameters = (exact, scale, zero) if zero else (exact, scale)
        self.levels[output] = f"{output}:levels"
        self.nodes.append(
            FileNode("QuantizeLinear", "", parameters, (self.levels[output],), attributes)
        )
        back = (self.levels[output], *parameters[1:])
        axis = {k: v for k, v in attributes.items() if k in ("axis", "block_size")}
        self.nodes.append(
            FileNode("DequantizeLinear", node.name, back, (output,), axis, node.scope)
        )
        self.params[output] = (scale, zero)

    def _moved(self, node: FileNode) -> None:
        self.nodes.append(
            replace(node, inputs=(node.inputs[0], *(self._as_stored(n) for n in node.inputs[1:])))
        )
        for output in filter(None, node.outputs):
            self.params[output] = self.params[node.inputs[0]]

    def _real(self, name: str, scale: str, zero: str = "", *, axis: int = 1) -> str:
        """The real numbers that levels mean under this scale and zero point."""
        if self.params.get(name) == (scale, zero):
            return name
        return self._make(
            "DequantizeLinear", [self._as_stored(name), scale, *([zero] if zero else [])], axis=axis
        )

    def _as_stored(self, name: str) -> str:
        """The levels behind a name that stands for real numbers; any other name itself."""
        if name not in self.params:
            return name
        if name not in self.levels:
            scale, zero = self.params[name]
            self.levels[name] = self._make(
                "QuantizeLinear", [name, scale, *([zero] if zero else [])]
            )
        return self.levels[name]

    def _integers(self, name: str) -> str:
        """Levels in their integer type, which foreign nodes want;
        QuantizeLinear gives them as floats."""
        if name not in self.params:
            return name
        zero = self.file.constants.get(self.params[name][1])
        return self._make(
            "Cast", [self._as_stored(name)], to=TYPES[torch.uint8 if zero is None else zero.dtype]
        )

    def _make(self, op: str, inputs: Sequence[str], **attributes: int) -> str:
        """A node's output, the same for the same inputs."""
        key = (op, *inputs, str(attributes))
        if key not in self.made:
            self.made[key] = f"{inputs[0]}:{op}:{len(self.made)}"
            self.nodes.append(FileNode(op, "", tuple(inputs), (self.made[key],), dict(attributes)))
        return self.made[key]


def _pair(inputs: Sequence[str], at: int) -> tuple[str, str]:
    """Scale and zero point, empty where they are left out."""
    found = [*inputs[at : at + 2], "", ""]
    return found[0], found[1]
