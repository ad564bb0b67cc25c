"""Traces a function of tensors, autograd included,
into one graph of ATen operators over fake tensors."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule

from camport.core.maps.loop import looping
from camport.errors import CamportError, ExportError, ModelError
from camport.export.capture.loops import Body, GraphLoop, bodies
from camport.export.capture.record import SAMPLE_BATCH, record, restore_state
from camport.export.failure_location import untraceable
from camport.export.graph import state_of
from camport.export.private_torch import ConstantSource, DimDynamic, FakeTensorMode, ShapeEnv

Function = Callable[[Mapping[str, Tensor], Mapping[str, Tensor]], dict[str, Tensor]]
"""A program: `(state, inputs) -> outputs`, all tensors by name."""

DynamicAxes = Mapping[str, Mapping[int, str]]
"""Which axes of which inputs stay symbolic, and their names:
`{"images": {0: "b"}, "target": {0: "b"}}`."""


@dataclass(frozen=True)
class Captured:
    """A traced program: its graph (see `camport.export.graph`) and the names of its inputs and
    outputs, in order.

    `exact` has the float64 values of those constants that were computed by a pass and then rounded;
    `bodies` those of the graph's loops.
    """

    graph: GraphModule
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    exact: dict[str, Tensor] = field(default_factory=dict)
    bodies: dict[int, Body] = field(default_factory=dict)

    @property
    def exact_state(self) -> dict[str, Tensor]:
        """The graph's constants, as exact as they are known."""
        return {**state_of(self.graph), **self.exact}


def capture(
    function: Function,
    state: Mapping[str, Tensor],
    inputs: Mapping[str, Tensor],
    axes: DynamicAxes,
    rules: Mapping[Any, Callable[..., Any]] | None = None,
) -> Captured:
    """Records one call of `function` as a graph whose named axes are symbolic.

    Args:
        function: what to record; neither it nor the tensors are changed, and no tensor is computed
            with.
        state: its constants, lifted as inputs while tracing and put back as buffers; shared tensors
            are held once.
        inputs: examples that give rank, dtype and the sizes of the static axes.
        axes: the axes that stay symbolic. Axes with one name share one symbol.
        rules: ATen overload -> function to record in its place; NotImplemented leaves the operator.

    Raises:
        ExportError: if it cannot be traced, a symbolic axis turns out fixed, or a tensor of the
            batch's size is baked in.
    """
    names, tensors = _unique({name: tensor.detach() for name, tensor in state.items()})
    mode = FakeTensorMode(shape_env=ShapeEnv(), allow_non_fake_inputs=True)
    symbols = _symbols(mode, inputs, axes)
    outputs: list[str] = []
    loops: list[GraphLoop] = []  # they keep the bodies until the graph is known

    def flat(values: list[Tensor], arguments: list[Tensor]) -> list[Tensor]:
        given = {name: values[names[name]] for name in state}
        known = [
            (value, name, tensor)
            for value, (name, tensor) in zip(values, tensors.items(), strict=True)
        ]
        loops[:] = [GraphLoop(arguments, known, mode)]
        with looping(loops[0]):
            result = function(given, dict(zip(inputs, arguments, strict=True)))
        outputs[:] = result
        return list(result.values())

    constants = [mode.from_tensor(t, static_shapes=True) for t in tensors.values()]
    with mode:
        arguments = [
            torch.empty(
                tuple(
                    symbols.get(axes.get(name, {}).get(i, ""), n) for i, n in enumerate(value.shape)
                ),
                dtype=value.dtype,
            )
            for name, value in inputs.items()
        ]
    try:
        graph = record(mode, flat, (constants, arguments), rules)
    except Exception as error:
        # what branches on values or leaves PyTorch fails with whatever it meets first
        if rules is not None or (
            isinstance(error, CamportError) and not isinstance(error, ModelError)
        ):
            raise
        raise untraceable(error) from error
    restore_state(graph, list(tensors.items()), list(inputs))
    _verify_symbols(symbols, graph, tuple(outputs))
    return Captured(graph, tuple(inputs), tuple(outputs), bodies=bodies(graph))


def _unique(state: Mapping[str, Tensor]) -> tuple[dict[str, int], dict[str, Tensor]]:
    """The tensors of `state`, each once under its first name,
    and for every name its place among them."""
    seen: dict[tuple[Any, ...], int] = {}
    places: dict[str, int] = {}
    unique: dict[str, Tensor] = {}
    for name, tensor in state.items():
        key = (
            (tensor.data_ptr(), tuple(tensor.shape), tensor.stride(), tensor.dtype)
            if tensor.numel()
            else (name,)
        )
        if key not in seen:
            seen[key] = len(unique)
            unique[name] = tensor
        places[name] = seen[key]
    return places, unique


def _symbols(
    mode: FakeTensorMode, inputs: Mapping[str, Tensor], axes: DynamicAxes
) -> dict[str, Any]:
    """One symbolic integer a named axis; the batch stands for `SAMPLE_BATCH`,
    others for the example's size."""
    env = mode.shape_env
    assert env is not None
    symbols: dict[str, Any] = {}
    for name, named in axes.items():
        for axis, label in named.items():
            if label in symbols:
                continue
            hint = SAMPLE_BATCH if axis == 0 else inputs[name].shape[axis]
            source = ConstantSource(f"_camport_{label}")
            symbol = env.create_symbol(hint, source=source, dynamic_dim=DimDynamic.DYNAMIC)
            symbols[label] = env.create_symintnode(symbol, hint=hint, source=source)
    return symbols


def _verify_symbols(
    symbols: Mapping[str, Any], graph: GraphModule, outputs: tuple[str, ...]
) -> None:
    """Refuses a graph in which a symbolic axis became a number on the way."""
    for label, symbol in symbols.items():
        try:
            fixed = symbol.node.maybe_as_int()
        except Exception:  # torch changes this often; a missing answer is not a failure
            fixed = None
        if fixed is not None:
            raise ExportError(
                f"the model works only where axis {label!r} is {fixed}, so it cannot be exported"
                f" with {label!r} dynamic"
            )
    if "b" not in symbols:
        return
    (node,) = (node for node in graph.graph.nodes if node.op == "output")
    for name, result in zip(outputs, node.args[0], strict=True):
        value = result.meta["val"]
        inside = name.startswith("outputs") and any(not isinstance(n, int) for n in value.shape)
        # a model may have its batch elsewhere
        if value.dim() and isinstance(value.shape[0], int) and not inside:
            raise ExportError(
                f"output {name!r} has a fixed first axis of {value.shape[0]} instead of the batch; "
                "something in the model takes the batch size as a number"
            )
