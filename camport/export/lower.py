"""From a program to a graph of forward operators alone."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from camport.export.capture import Captured, DynamicAxes, Function, capture
from camport.export.graph import state_of
from camport.export.passes import (
    bare_matmul,
    counts_to_products,
    drop_copies,
    drop_unit_factors,
    expand_late,
    fold_batch_norm,
    onehot_to_rows,
    plain_softmax,
    run_passes,
    selects_to_squeezes,
    views_to_reshapes,
)
from camport.export.passes.batch_norm import EXACT
from camport.export.rules import RULES

BEFORE = (plain_softmax, fold_batch_norm, bare_matmul, views_to_reshapes)
"""Passes that must see backward operators as they were recorded."""

AFTER = (
    drop_copies,
    views_to_reshapes,
    drop_unit_factors,
    expand_late,
    onehot_to_rows,
    selects_to_squeezes,
    counts_to_products,
)
"""Passes over the lowered, functional graph."""


def lower(
    function: Function,
    state: Mapping[str, Tensor],
    inputs: Mapping[str, Tensor],
    axes: DynamicAxes,
    rules: Mapping[Any, Callable[..., Any]] = RULES,
) -> Captured:
    """Captures `function`, folds and simplifies, and writes every backward operator with forward ones.

    The second capture replays the graph: rules are ordinary functions of tensors, so applying them is tracing through
    them, and in-place operators become functional on the way.
    """
    captured = capture(function, state, inputs, axes)
    run_passes(captured.graph, BEFORE)
    functional = torch.func.functionalize(replay(captured), remove="mutations")
    lowered = capture(functional, state_of(captured.graph), inputs, axes, rules)
    run_passes(lowered.graph, AFTER)
    used = state_of(lowered.graph)
    exact = {k: v for k, v in captured.graph.meta.get(EXACT, {}).items() if k in used}
    return replace(lowered, exact=exact)


def replay(captured: Captured) -> Function:
    """The captured graph as a function of its state and inputs by name."""

    def call(state: Mapping[str, Tensor], inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        arguments = tuple(inputs[name] for name in captured.inputs)
        results = torch.func.functional_call(captured.graph, dict(state), arguments)
        return dict(zip(captured.outputs, results, strict=True))

    return call
