"""Half precision: a lowered graph whose constants and values are float16,
with float32 at its doors.

The graph is halved after lowering and not traced from a halved model, so that each weight is
rounded once: batch-norm is folded in float32 before. What it is compared with is eager PyTorch in
float16.
"""

import operator
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from camport.errors import ExportError, ModelError
from camport.export.capture.capture import Captured
from camport.export.graph import compile_graph, is_call, set_buffer, state_of
from camport.export.operators.registry import IN_SINGLE as OWN_IN_SINGLE
from camport.export.private_torch import tree_map
from camport.export.traceable import Traceable

HALF = torch.float16
LARGEST = torch.finfo(HALF).max

aten = torch.ops.aten

IN_SINGLE = (
    aten.scatter_add.default,
    aten.scatter_reduce.two,
    aten.index_put.default,
    aten.index_add.default,
    aten.native_layer_norm.default,
    aten.native_group_norm.default,
    *OWN_IN_SINGLE,
)
"""Operators that stay in float32, between casts: ONNX Runtime adds up what is scattered in float32
alone, ONNX tells a normalisation's statistics in float32, and some operators of our own say so.
They also round less."""


class Half:
    """A program in float16: its floating state is rounded, its inputs are on the way in,
    its outputs are float32."""

    def __init__(self, program: Traceable) -> None:
        self.program, self.inputs = program, program.inputs
        self.state = {name: narrow(tensor) for name, tensor in program.state.items()}

    def __call__(
        self, state: Mapping[str, Tensor], inputs: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """The program's outputs, computed in float16.

        Raises:
            ExportError: PyTorch has no float16 form of an operator.
        """
        try:
            values = self.program(state, {name: narrow(value) for name, value in inputs.items()})
        except (RuntimeError, ModelError) as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
            raise ExportError(
                "the model cannot be run in float16 by PyTorch, so nothing can be compared with:"
                f" {reason}"
            ) from error
        return {
            name: value.float() if value.is_floating_point() else value
            for name, value in values.items()
        }

    def sample(self, images: Tensor, batch: int, seed: int) -> dict[str, Tensor]:
        """The program's, in float32."""
        return self.program.sample(images, batch, seed)


def halve(captured: Captured) -> None:
    """Turns a lowered float32 graph, its loops included, into a float16 one, in place;
    inputs and outputs stay float32.

    Raises:
        ExportError: a constant is beyond float16's largest number.
    """
    graph = captured.graph
    for part in (graph, *(body.graph for body in captured.bodies.values())):
        _halve_part(part)
    for node in [n for n in graph.graph.nodes if n.op == "placeholder" and _is_single(n)]:
        with graph.graph.inserting_after(node):
            cast = graph.graph.call_function(aten._to_copy.default, (node,), {"dtype": HALF})
        cast.meta["val"] = node.meta["val"].to(HALF)
        node.replace_all_uses_with(cast, delete_user_cb=lambda user, cast=cast: user is not cast)
    (output,) = (node for node in graph.graph.nodes if node.op == "output")
    results: Any = output.args[0]
    widened = []
    for node in results:
        if node.meta["val"].dtype == HALF:
            with graph.graph.inserting_before(output):
                single = graph.graph.call_function(
                    aten._to_copy.default, (node,), {"dtype": torch.float32}
                )
            single.meta["val"] = node.meta["val"].float()
            node = single
        widened.append(node)
    output.args = (type(results)(widened),)
    compile_graph(graph)


def narrow(value: Tensor) -> Tensor:
    """float32 and float64 in float16, anything else as it is."""
    return value.to(HALF) if value.dtype in (torch.float32, torch.float64) else value


def _halve_part(graph: GraphModule) -> None:
    for name, value in state_of(graph).items():
        if narrow(value) is not value:
            _check_range(name, value)
            set_buffer(graph, name, _clamped(value))
    for node in graph.graph.nodes:
        if node.op == "call_function":
            node.args, node.kwargs = tree_map(_narrow_argument, (node.args, node.kwargs))
            if _is_made_single(node):
                node.kwargs = {**node.kwargs, "dtype": HALF}
        if node.op in ("call_function", "get_attr") and "val" in node.meta:
            node.meta["val"] = tree_map(
                lambda v: narrow(v) if isinstance(v, Tensor) else v, node.meta["val"]
            )
    for node in [n for n in graph.graph.nodes if is_call(n, *IN_SINGLE)]:
        _in_single(graph, node)
    compile_graph(graph)


def _in_single(graph: GraphModule, node: Node) -> None:
    """Casts what the node takes to float32 and its results back."""

    def cast(source: Node, kind: torch.dtype) -> Node:
        made = graph.graph.call_function(aten._to_copy.default, (source,), {"dtype": kind})
        made.meta["val"] = source.meta["val"].to(kind)
        return made

    with graph.graph.inserting_before(node):
        for source in [n for n in node.all_input_nodes if _dtype(n) == HALF]:
            node.replace_input_with(source, cast(source, torch.float32))
    # the others are getitems
    results = [node] if isinstance(node.meta.get("val"), Tensor) else list(node.users)
    for result in [n for n in results if _dtype(n) == HALF]:
        result.meta["val"] = result.meta["val"].float()
        with graph.graph.inserting_after(result):
            back = cast(result, HALF)
        result.replace_all_uses_with(back, delete_user_cb=partial(operator.is_not, back))


def _dtype(node: Node) -> torch.dtype | None:
    value = node.meta.get("val")
    return value.dtype if isinstance(value, Tensor) else None


def _check_range(name: str, value: Tensor) -> None:
    finite = value[value.isfinite()]
    largest = finite.abs().max().item() if finite.numel() else 0.0
    if LARGEST < largest < 1e30:  # beyond that it is a mask's stand-in for infinity
        raise ExportError(
            f"{name!r} has values up to {largest:.1e}, and float16 ends at {LARGEST:.0f}: export it"
            " in float32"
        )


def _clamped(value: Tensor) -> Tensor:
    """`value` in float16; what stands for infinity becomes the largest number."""
    return torch.where(value.isfinite(), value.clamp(-LARGEST, LARGEST), value).to(HALF)


def _narrow_argument(value: Any) -> Any:
    if value in (torch.float32, torch.float64) and isinstance(value, torch.dtype):
        return HALF
    if isinstance(value, float) and LARGEST < abs(value) < float("inf"):
        return LARGEST if value > 0 else -LARGEST
    return value


def _is_single(node: Node) -> bool:
    return _dtype(node) == torch.float32


def _is_made_single(node: Node) -> bool:
    """Whether the node makes float32 values from numbers alone, in the default type."""
    schema = getattr(node.target, "_schema", None)
    value = node.meta.get("val")
    return (
        schema is not None
        and isinstance(value, Tensor)
        and value.dtype == torch.float32
        and node.kwargs.get("dtype") is None
        and any(argument.name == "dtype" for argument in schema.arguments)
        and not any(isinstance(source.meta.get("val"), Tensor) for source in node.all_input_nodes)
    )
