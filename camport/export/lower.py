"""From a program to a graph of forward operators alone."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.fx import GraphModule

from camport.export.capture import Captured, DynamicAxes, Function, capture
from camport.export.graph import state_of
from camport.export.passes import (
    bare_matmul,
    drop_copies,
    fold_batch_norm,
    run_passes,
    views_to_reshapes,
)
from camport.export.rules import RULES

BEFORE = (fold_batch_norm, bare_matmul, views_to_reshapes)
"""Passes that must see backward operators as they were recorded."""

AFTER = (drop_copies, views_to_reshapes)
"""Passes over the lowered, functional graph."""


def lower(function: Function, state: Mapping[str, Tensor], inputs: Mapping[str, Tensor], axes: DynamicAxes) -> Captured:
    """Captures `function`, folds and simplifies, and writes every backward operator with forward ones.

    The second capture replays the graph: rules are ordinary functions of tensors, so applying them is tracing through
    them, and in-place operators become functional on the way.
    """
    captured = capture(function, state, inputs, axes)
    run_passes(captured.graph, BEFORE)
    lowered = capture(_replay(captured), state_of(captured.graph), inputs, axes, RULES)
    run_passes(lowered.graph, AFTER)
    return lowered


def _replay(captured: Captured) -> Function:
    """The captured graph as a function of its state and inputs by name."""

    def replay(state: Mapping[str, Tensor], inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        def run(given: dict[str, Tensor], arguments: tuple[Tensor, ...]) -> list[Tensor]:
            return torch.func.functional_call(captured.graph, given, arguments)

        functional = torch.func.functionalize(run, remove="mutations")
        results = functional(dict(state), tuple(inputs[name] for name in captured.inputs))
        return dict(zip(captured.outputs, results, strict=True))

    return replay


def as_function(captured: Captured) -> tuple[GraphModule, tuple[str, ...]]:
    """The graph and the names of its outputs."""
    return captured.graph, captured.outputs
