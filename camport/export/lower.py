"""From a program to a graph of forward operators alone."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from camport.errors import CamportError
from camport.export.capture.capture import Captured, DynamicAxes, Function, capture
from camport.export.capture.loops import Body
from camport.export.capture.record import record, restore_state
from camport.export.failure_location import not_lowered
from camport.export.graph import state_of
from camport.export.passes import AFTER, BEFORE, run_passes
from camport.export.passes.batch_norm import EXACT, KEPT
from camport.export.rules import RULES
from camport.export.stages import stage


def lower(
    function: Function,
    state: Mapping[str, Tensor],
    inputs: Mapping[str, Tensor],
    axes: DynamicAxes,
    rules: Mapping[Any, Callable[..., Any]] = RULES,
) -> Captured:
    """Captures `function`, folds and simplifies,
    and writes every backward operator with forward ones.

    The second capture replays the graph: rules are ordinary functions of tensors, so applying them
    is tracing through them, and in-place operators become functional on the way.
    """
    with stage("capture") as counts:
        captured = capture(function, state, inputs, axes)
        counts["nodes"] = len(captured.graph.graph.nodes)
    run_passes(captured.graph, BEFORE, "passes before the rules")
    kept = {tensor.data_ptr() for tensor in state_of(captured.graph).values()}
    for body in captured.bodies.values():
        body.graph.meta[KEPT] = kept
        lower_body(body, rules)
    functional = torch.func.functionalize(replay(captured), remove="mutations")
    with stage("backward rules") as counts:
        with _rules_named():
            lowered = capture(functional, state_of(captured.graph), inputs, axes, rules)
        counts["nodes"] = len(lowered.graph.graph.nodes)
    run_passes(lowered.graph, AFTER, "passes behind the rules")
    used = state_of(lowered.graph)
    exact = {k: v for k, v in captured.graph.meta.get(EXACT, {}).items() if k in used}
    return replace(lowered, exact=exact)


def lower_body(body: Body, rules: Mapping[Any, Callable[..., Any]]) -> None:
    """The same for the body of a loop, in place and with the symbols it was recorded with."""
    run_passes(body.graph, BEFORE, "passes in a loop, before the rules")
    state = state_of(body.graph)
    inputs = [node for node in body.graph.graph.nodes if node.op == "placeholder"]
    constants = [body.mode.from_tensor(tensor, static_shapes=True) for tensor in state.values()]

    def turn(values: list[Tensor], arguments: list[Tensor]) -> list[Tensor]:
        given = dict(zip(state, values, strict=True))
        return list(torch.func.functional_call(body.graph, given, tuple(arguments)))

    functional = torch.func.functionalize(turn, remove="mutations")
    with _rules_named():
        lowered = record(
            body.mode, functional, (constants, [node.meta["val"] for node in inputs]), rules
        )
    restore_state(lowered, list(state.items()), [node.name for node in inputs])
    run_passes(lowered, AFTER, "passes in a loop, behind the rules")
    used = state_of(lowered)
    body.exact = {k: v for k, v in body.graph.meta.get(EXACT, {}).items() if k in used}
    body.graph = lowered


@contextmanager
def _rules_named() -> Iterator[None]:
    """What a rule raises becomes an error that names its operator."""
    try:
        yield
    except CamportError:
        raise
    except Exception as error:
        raise not_lowered(error) from error


def replay(captured: Captured) -> Function:
    """The captured graph as a function of its state and inputs by name."""

    def call(state: Mapping[str, Tensor], inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        arguments = tuple(inputs[name] for name in captured.inputs)
        results = torch.func.functional_call(captured.graph, dict(state), arguments)
        return dict(zip(captured.outputs, results, strict=True))

    return call
