"""Files that take one image and any number of targets:
what depends on the image alone is computed once.

In a file as it is traced every target has an image of its own. Here the image's batch becomes 1.
Behind it the nodes fall in two: those of the image, which no target reaches, and those of the rows,
which have one row a target. Where a node of the rows reads a value of the image, elementwise
operators and matrix products broadcast it; others read it expanded to the rows, or computed anew
for them where its shape has the batch inside another axis. Constants of the graph and the meaning
of each row stay as they are.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from torch import Tensor
from torch.fx import GraphModule

from camport.errors import ExportError
from camport.export.capture.loops import LOOP
from camport.export.graph import is_call
from camport.export.onnx_file.lint import ONCE
from camport.export.onnx_file.ort import runner
from camport.export.onnx_file.step import Draft, Step, ensures, requires
from camport.export.proof.parity import check_exported
from camport.export.traceable import Traceable

BROADCASTING = (
    *("Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Where", "And", "Or", "MatMul"),
    *("Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual"),
)
"""Operators that repeat an axis of length 1 by themselves."""

NUMBERING = ("MaxPool", "Range", "NonZero", "CumSum")
"""Operators whose whole numbers may count through the batch, so that a row's are not the image's:
they, and the whole numbers and truth values made of them, are computed anew for the rows. What is
looked up by them is the row's own.
"""

FLOATING = (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.DOUBLE)
ROWS = 3
"""Targets of the one image that a file is checked with."""


def check_asked(program: Traceable) -> None:
    """Refuses a program of images alone: there is nothing to ask several times.

    Raises:
        ExportError: saying so.
    """
    if len(program.inputs) < 2:
        raise ExportError(
            "one_image is for files that take a target, and this one takes images and nothing else"
        )


def check_shareable(graph: GraphModule) -> None:
    """Refuses a lowered graph that runs many variants of the image:
    its loops run the batch again and again.

    Raises:
        ExportError: saying so.
    """
    if any(is_call(node, LOOP) for node in graph.graph.nodes):
        raise ExportError(
            "a file for one image runs the model once, and this method runs many variants of the"
            " image in a loop: leave one_image out, or choose a method of one pass"
        )


class OneImage(Step):
    """Makes `images` one image; the other inputs keep the batch,
    and so does what depends on them."""

    name = "one image"

    @classmethod
    def of(cls, draft: Draft) -> Step | None:
        """Where one image is asked for."""
        return cls() if draft.options.one_image else None

    def requires(self, model: ir.Model) -> None:
        """A free batch of images, another input, and no node with a graph of its own."""
        images, *others = model.graph.inputs
        requires(
            isinstance(_Sharing._sizes(images)[0], str) and bool(others), "a batch and a target"
        )
        inner = (value for node in model.graph for value in node.attributes.values())
        requires(
            all(value.type != ir.AttributeType.GRAPH for value in inner), "a file without loops"
        )

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrites the graph."""
        _Sharing(model.graph).run()
        return ir.passes.PassResult(model, modified=True)

    def ensures(self, model: ir.Model) -> None:
        """One image."""
        ensures(_Sharing._sizes(model.graph.inputs[0])[0] == 1, "one image")

    def prove(self, draft: Draft) -> Mapping[str, Any]:
        """What the file says of one image is what the file with an image a row says,
        as near as that one repeats."""
        inputs = {
            name: value.cpu() for name, value in draft.program.sample(draft.images, ROWS, 5).items()
        }
        inputs["images"] = inputs["images"][:1].expand(ROWS, -1, -1, -1).contiguous()
        whole, alone = runner(draft.before), runner(draft.path)
        expected = whole(inputs)

        def asked(given: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
            found = alone({**given, "images": given["images"][:1]})
            return {name: value.expand_as(expected[name]) for name, value in found.items()}

        check_exported(lambda _, given: dict(whole(given)), {}, asked, [(inputs, expected)])
        return {}


class _Sharing:
    def __init__(self, graph: Any) -> None:
        self.graph = graph
        self.images, self.first = graph.inputs[0], graph.inputs[1]
        self.label: str = self.images.shape[0].value
        self.named = re.compile(rf"\b{re.escape(self.label)}\b")
        self.nodes = list(graph)
        self.of_image, self.of_rows = {self.images}, set(graph.inputs[1:])
        self.flat: set[Any] = set()  # numbers that count through the batch
        self.versions: dict[Any, Any] = {}
        self.made = 0

    def run(self) -> None:
        for node in self.nodes:
            if any(value in self.of_rows for value in node.inputs):
                self.of_rows.update(node.outputs)
            elif any(value in self.of_image for value in node.inputs):
                self.of_image.update(node.outputs)
            if node.op_type in NUMBERING or any(value in self.flat for value in node.inputs):
                self.flat.update(value for value in node.outputs if value.dtype not in FLOATING)
        for node in self.nodes:
            if not any(value in self.of_rows for value in node.outputs):
                continue
            for place, value in enumerate(node.inputs):
                if value in self.of_image and not self._broadcast(node, value):
                    node.replace_input_with(place, self._version(value, node))
        for place, value in enumerate(self.graph.outputs):
            if value in self.of_image and not value.name.startswith(ONCE) and self._by_row(value):
                self.graph.outputs[place] = self._repeated(value)
        for value in self.of_image:
            sizes = self._sizes(value)
            if any(size != self.label and self._has_batch(size) for size in sizes):
                value.shape = None
            elif self.label in sizes:
                value.shape = ir.Shape([1 if size == self.label else size for size in sizes])

    def _broadcast(self, node: Any, value: Any) -> bool:
        """Whether the node itself repeats a value of the image,
        along one of the rows of the same rank."""
        beside = [other for other in node.inputs if other in self.of_rows and self._by_row(other)]
        known = node.op_type in BROADCASTING and self._by_row(value)
        return known and any(len(other.shape) == len(value.shape) for other in beside)

    def _version(self, value: Any, node: Any) -> Any:
        """What stands for `value` in the rows, made before `node` at the latest."""
        if value not in self.of_image:
            return value
        if value not in self.versions:
            source = value.producer()
            if self._by_row(value):
                self.versions[value] = self._expanded(value, node)
            elif source.op_type == "Shape" and self._by_row(source.inputs[0]):
                self.versions[value] = self._counted(source, node)
            else:
                self._again(source, node)
        return self.versions[value]

    def _repeated(self, value: Any) -> Any:
        """An output that no target changes, as a row for each all the same."""
        end = ir.node("Identity", [value])
        self.graph.append(end)
        end.replace_input_with(0, self._version(value, end))
        end.outputs[0].shape, end.outputs[0].type = value.shape, value.type
        end.outputs[0].name, value.name = value.name, f"{value.name}.once"
        return end.outputs[0]

    def _expanded(self, value: Any, node: Any) -> Any:
        rest = len(value.shape) - 1
        size = self._rows(node)
        if rest:
            size = self._made(
                node, "Concat", [size, self._ones(rest)], ir.Shape([rest + 1]), axis=0
            )
        return self._made(node, "Expand", [value, size], value.shape, value.dtype)

    def _counted(self, source: Any, node: Any) -> Any:
        """The sizes that `Shape` would find, had its input the rows."""
        value = source.inputs[0]
        start, end = (
            source.attributes.get_int(name, other) for name, other in (("start", 0), ("end", None))
        )
        start, end, _ = slice(start, end).indices(len(value.shape))
        if start > 0:
            return source.outputs[0]
        if end == 1:
            return self._rows(node)
        rest = self._made(node, "Shape", [value], ir.Shape([end - 1]), start=1, end=end)
        return self._made(node, "Concat", [self._rows(node), rest], ir.Shape([end]), axis=0)

    def _again(self, source: Any, node: Any) -> None:
        """A copy of the node that made a value, which reads the rows."""
        inputs = [value if value is None else self._version(value, node) for value in source.inputs]
        attributes = list(source.attributes.values())
        copy = ir.Node(
            source.domain, source.op_type, inputs, attributes, num_outputs=len(source.outputs)
        )
        for mine, old in zip(copy.outputs, source.outputs, strict=True):
            mine.name, mine.shape, mine.type = f"{old.name}.rows", old.shape, old.type
            self.versions[old] = mine
        self.graph.insert_before(node, copy)

    def _rows(self, node: Any) -> Any:
        """How many there are, int64 [1]."""
        if None not in self.versions:
            self.versions[None] = self._made(
                node, "Shape", [self.first], ir.Shape([1]), start=0, end=1
            )
        return self.versions[None]

    def _ones(self, count: int) -> Any:
        name = f"rows.ones_{count}"
        if name not in self.graph.initializers:
            ones = ir.tensor(np.ones(count, np.int64), name=name)
            value = ir.Value(
                name=name, shape=ir.Shape([count]), type=ir.TensorType(ir.DataType.INT64)
            )
            value.const_value = ones
            self.graph.register_initializer(value)
        return self.graph.initializers[name]

    def _made(
        self,
        before: Any,
        kind: str,
        inputs: Sequence[Any],
        shape: Any,
        dtype: Any = ir.DataType.INT64,
        **options: int,
    ) -> Any:
        node = ir.node(kind, inputs, options)
        output = node.outputs[0]
        self.made += 1
        output.name, output.shape, output.dtype = f"rows.{kind.lower()}_{self.made}", shape, dtype
        self.graph.insert_before(before, node)
        return output

    def _by_row(self, value: Any) -> bool:
        """Whether the value's first axis, and no other, is the batch,
        and each row is the row's alone."""
        sizes = self._sizes(value)
        first, rest = sizes[:1], sizes[1:]
        return (
            first == [self.label] and not any(map(self._has_batch, rest)) and value not in self.flat
        )

    def _has_batch(self, size: Any) -> bool:
        return isinstance(size, str) and bool(self.named.search(size))

    @staticmethod
    def _sizes(value: Any) -> list[Any]:
        return [] if value.shape is None else [getattr(size, "value", size) for size in value.shape]
