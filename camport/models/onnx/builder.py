"""From a checked file to a model: constants folded, shapes kept symbolic,
every other node a module."""

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from camport.errors import ModelError
from camport.models.onnx.attention import inside_attention, token_layer
from camport.models.onnx.call import Call, Slot
from camport.models.onnx.catalogue import find, find_small
from camport.models.onnx.channels import channels_of
from camport.models.onnx.constants import Constants, folded
from camport.models.onnx.engine import engine_operator
from camport.models.onnx.file import FileNode, OnnxFile
from camport.models.onnx.kinds import kind
from camport.models.onnx.model import OnnxModel, Plan, Step
from camport.models.onnx.names import Names, readable
from camport.models.onnx.node import facts_of
from camport.models.onnx.registry import Operator
from camport.models.onnx.scopes import enclosing, repeated
from camport.models.onnx.small import Small

SHAPES = ("Shape", "Size")
PASSING = ("Identity", "Dropout")
"""Operators that only hand on their first input: they leave no trace."""

MOST = 1024
"""Elements of a constant that may take part in the arithmetic of shapes."""


class Builder:
    """Goes through the nodes once, in order. Each value is a constant, numbers (`Small`),
    or a live tensor.

    Args:
        file: the checked file.
    """

    def __init__(self, file: OnnxFile) -> None:
        self.file = file
        self.constants = Constants(file.constants)
        self.symbolic: set[str] = set()
        self.renamed: dict[str, str] = {}
        self.steps: list[Step] = []
        self.modules: dict[str, nn.Module] = {}
        self.names = Names()
        self.scopes = Names()
        self.inside: set[str] = set()

    def build(self) -> OnnxModel:
        """The model."""
        used = _needed(self.file)
        self.inside = inside_attention(used)
        for node in used:
            self._add(node)
        outputs = tuple(self._source(name) for name in self.file.outputs)
        stored = {name: self.constants[name] for name in outputs if name in self.constants}
        channels_last = channels_of(self.file).last
        plan = Plan(
            self.file.path.name,
            tuple(self.file.inputs),
            outputs,
            _with_lifetimes(self.steps, outputs),
            channels_last,
        )
        self.names.also_from(self.scopes)
        tokens = token_layer(used, self.file)
        target = self.names.aliases.get(tokens) if tokens else None
        return OnnxModel(plan, self.modules, stored, self.names.aliases, target)

    def _add(self, node: FileNode) -> None:
        label = f"{self.file.path.name}: {node.label}"
        operator = (
            engine_operator(node.engine, label) if node.engine else find(node.op, self.file.opset)
        )
        assert operator is not None  # checked when the file was read
        inputs = [self._source(name) if name else "" for name in node.inputs]
        while inputs and not inputs[-1]:
            inputs.pop()
        self._check_call(node, operator, inputs)
        if node.op in PASSING and inputs:
            self.renamed[node.outputs[0]] = inputs[0]
            maker = self.names.aliases.get(inputs[0])
            if maker:
                self.names.also(maker, [node.name, *node.outputs])
            return
        present = [name for name in inputs if name]
        attributes = {
            k: Small.from_tensor(v) if isinstance(v, Tensor) else v
            for k, v in node.attributes.items()
        }
        if all(name in self.constants for name in present):
            self._fold(
                node, operator, inputs, node.attributes if node.op == "Constant" else attributes
            )
        elif (
            node.op == "Shape"
            and present[0] in self.symbolic
            and None not in self._sizes(present[0])
        ):
            # how many sizes there are is known, whatever they are
            start, end = node.attributes.get("start", 0), node.attributes.get("end")
            self.constants.put(node.outputs[0], Small.of(list(self._sizes(present[0]))[start:end]))
        elif self._is_shape_arithmetic(node, present):
            small = (
                operator
                if node.op in SHAPES and present[0] not in self.symbolic
                else find_small(node.op)
            )
            assert small is not None
            call = Call(
                small,
                node.label,
                attributes,
                tuple(self._number(n) for n in inputs),
                len(node.outputs),
            )
            self._step(node, call, inputs, "")
            self.symbolic.update(filter(None, node.outputs))
        else:
            self._tensor_node(node, operator, inputs, attributes)

    def _sizes(self, name: str) -> tuple[int | None, ...]:
        return self.file.shapes.get(name, (None,))

    def _source(self, name: str) -> str:
        while name in self.renamed:
            name = self.renamed[name]
        return name

    def _check_call(self, node: FileNode, operator: Operator, inputs: list[str]) -> None:
        unknown = set(node.attributes) - set(operator.parameters)
        if unknown:
            raise ModelError(
                f"{self.file.path.name}: {node.label} has the attribute {sorted(unknown)[0]!r},"
                f" which camport does not know at opset {self.file.opset}; export the model again"
                " without it"
            )
        if not operator.variadic and len(inputs) > len(operator.inputs):
            raise ModelError(
                f"{self.file.path.name}: {node.label} has {len(inputs)} inputs; {node.op} takes"
                " fewer"
            )

    def _fold(
        self, node: FileNode, operator: Operator, inputs: list[str], attributes: dict[str, Any]
    ) -> None:
        arguments: list[Any] = []
        for i, name in enumerate(inputs):
            if not name:
                arguments.append(None)
            elif self._wants_numbers(operator, i, self.constants[name]):
                arguments.append(Small.from_tensor(self.constants[name]))
            else:
                arguments.append(self.constants[name])
        options = dict(attributes)
        if "outputs" in operator.parameters:
            options["outputs"] = len(node.outputs)
        result = folded(
            operator.function, arguments, options, f"{self.file.path.name}: {node.label}"
        )
        for name, value in zip(
            node.outputs, result if isinstance(result, tuple) else (result,), strict=False
        ):
            if name:
                self.constants.put(name, value)

    def _is_shape_arithmetic(self, node: FileNode, present: list[str]) -> bool:
        if node.op in SHAPES:
            return True
        if node.engine:
            return False
        if find_small(node.op) is None or not all(
            n in self.symbolic or self._is_small(n) for n in present
        ):
            return False
        # what is repeated by a size of the image is no shape but a tensor
        return node.op not in ("Expand", "Tile") or present[1] in self.constants

    def _is_small(self, name: str) -> bool:
        """Whether a value is a constant that may stand among sizes: integers, or one number."""
        if name not in self.constants:
            return False
        value = self.constants[name]
        return value.numel() == 1 or (value.numel() <= MOST and not value.is_floating_point())

    def _number(self, name: str) -> Slot:
        if not name:
            return Slot("absent")
        if name in self.constants:
            return Slot("known", value=Small.from_tensor(self.constants[name]))
        return Slot("live")

    def _tensor_node(
        self, node: FileNode, operator: Operator, inputs: list[str], attributes: dict[str, Any]
    ) -> None:
        slots, held = [], {}
        for i, name in enumerate(inputs):
            parameter = operator.input_name(i)
            if not name:
                slots.append(Slot("absent"))
            elif name not in self.constants:
                slots.append(
                    Slot("live", wants_tensor=parameter not in operator.static | operator.scalar)
                )
            elif self._wants_numbers(operator, i, self.constants[name]):
                slots.append(Slot("known", value=Small.from_tensor(self.constants[name])))
            else:
                statistics = node.op == "BatchNormalization" and parameter in ("mean", "var")
                held[parameter] = (
                    self.constants[name].detach() if statistics else self.constants[name]
                )
                slots.append(Slot("held", name=parameter))
        call = Call(operator, node.label, attributes, tuple(slots), len(node.outputs))
        live = [name for name in inputs if name and name not in self.constants]
        if not held and all(name in self.symbolic for name in live):
            # made of sizes alone: nothing to hook, and computed afresh each time
            self._step(node, call, inputs, "")
            return
        name = self.names.new(_wanted(node))
        facts = facts_of(node.op, held, attributes)
        if not self.inside.isdisjoint(node.outputs):
            facts["moves_features"] = True
        self.modules[name] = kind(node.op)(call, held, facts)
        own = [node.name, *node.outputs]
        self.names.also(name, own)
        self.scopes.also(name, (readable(n) for n in own if n))
        self.scopes.also(
            name, enclosing(node.scope) + ([] if held else repeated(node.scope)), last=True
        )
        self._step(node, call, inputs, name)

    def _wants_numbers(self, operator: Operator, index: int, constant: Tensor) -> bool:
        parameter = operator.input_name(index)
        return parameter in operator.static or (
            parameter in operator.scalar and constant.numel() == 1
        )

    def _step(self, node: FileNode, call: Call, inputs: list[str], module: str) -> None:
        live = tuple(name for name in inputs if name and name not in self.constants)
        self.steps.append(Step(node.label, module, None if module else call, live, node.outputs))


def _wanted(node: FileNode) -> str:
    """A name a person can read: where it was in the original network, else the node's own,
    else the tensor's."""
    if node.scope:
        return f"{node.scope}.{node.op}"
    counted = re.fullmatch(r"[a-z]?[0-9]+(_[0-9]+)?", node.name)  # "n0_20", as rewriters name nodes
    return node.name if node.name and not counted else f"{node.op}_{node.outputs[0]}"


def _needed(file: OnnxFile) -> list[FileNode]:
    """The nodes on which the outputs depend; outputs of theirs that nobody reads are left out."""
    wanted, kept = set(file.outputs), []
    for node in reversed(file.nodes):
        if wanted.intersection(node.outputs):
            outputs = tuple(name if name in wanted else "" for name in node.outputs)
            while len(outputs) > 1 and not outputs[-1] and node.op != "Split" and not node.engine:
                outputs = outputs[:-1]
            kept.append(replace(node, outputs=outputs))
            wanted.update(filter(None, node.inputs))
    return kept[::-1]


def _with_lifetimes(steps: Iterable[Step], outputs: tuple[str, ...]) -> tuple[Step, ...]:
    """The steps with what each of them is the last to read,
    so that memory is given back on the way."""
    alive, timed = set(outputs), []
    for step in reversed(list(steps)):
        written = [name for name in step.outputs if name and name not in alive]
        done = tuple(
            dict.fromkeys([*(name for name in step.inputs if name not in alive), *written])
        )
        alive.update(step.inputs)
        timed.append(replace(step, done=done))
    return tuple(timed[::-1])
