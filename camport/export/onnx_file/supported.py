"""Which operators ONNX files can hold: those that a rule lowers and those that have a form in
ONNX."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from camport.errors import ExportError
from camport.export.capture.loops import LOOP, all_nodes
from camport.export.failure_location import locate_node, origin
from camport.export.graph import is_call
from camport.export.onnx_file import translations
from camport.export.onnx_file.from_graph import OPSET
from camport.export.onnx_file.operator_registry import operator_registry
from camport.export.private_torch import decomposed, tree_leaves
from camport.export.rules import lowered


def missing(operator: Any, args: Sequence[Any]) -> str | None:
    """What has no ONNX form where a model calls `operator` with these arguments;
    None where all is well."""
    operator = _functional(operator)
    if _masked(operator, args):
        return f"{operator} with a mask among the indices"
    if operator in _NOTHING or operator.namespace == "prim":
        return None
    if any(isinstance(value, Tensor) and value.is_complex() for value in tree_leaves(args)):
        return None if _takes_complex(operator) else f"{operator} of complex numbers"
    return None if lowered(operator, args) or _translatable(operator) else str(operator)


_NOTHING = (torch.ops.aten.lift_fresh.default, torch.ops.aten.detach.default)
"""Operators that no graph has any more."""


@cache
def _functional(operator: Any) -> Any:
    """The twin of an in-place operator that leaves its input alone:
    what stands in a graph for it."""
    schema = operator._schema
    name, overload = schema.name.partition("::")[2], schema.overload_name or "default"
    if not schema.is_mutable or not name.endswith("_"):
        return operator
    twin = getattr(getattr(torch.ops, operator.namespace), name[:-1], None)
    return getattr(twin, overload, operator)


def check_supported(graph: GraphModule) -> None:
    """Looks every operator of a lowered graph up.

    Raises:
        ExportError: naming each ATen operator without an ONNX form and where it comes from.
    """
    found: dict[str, Node] = {}
    for node in all_nodes(graph):
        if is_call(node, LOOP):
            continue
        if node.op == "call_function" and hasattr(node.target, "_schema"):
            lacking = missing(node.target, [_values(argument) for argument in node.args])
            if lacking:
                found.setdefault(lacking, node)
    if found:
        listed = "; ".join(f"{name} {origin(node)}" for name, node in found.items())
        refusal = ExportError(
            f"no ONNX form for {listed}. Choose a later layer, so that the gradient does not pass"
            " through it, or replace the module"
        )
        raise locate_node(refusal, next(iter(found.values())))


@cache
def _translatable(operator: Any) -> bool:
    """Whether an overload is translated, by us or by torch.onnx, or decomposes into what is."""
    if operator in translations.table() or operator_registry(OPSET).is_registered(operator):
        return True
    return operator in decomposed()


@cache
def _takes_complex(operator: Any) -> bool:
    return any(form.is_complex for form in operator_registry(OPSET).get_decomps(operator))


def _masked(operator: Any, args: Sequence[Any]) -> bool:
    """Whether values are put where a mask says, beside other indices:
    torch.onnx refuses that at the very end."""
    if "index_put" not in str(operator):
        return False
    indices = args[1]
    return len(indices) > 1 and any(
        getattr(index, "dtype", None) == torch.bool for index in indices
    )


def _values(argument: Any) -> Any:
    """What a node's argument stands for: the fake tensor, or the list of them."""
    if isinstance(argument, list | tuple):
        return [_values(one) for one in argument]
    return argument.meta.get("val") if isinstance(argument, Node) else argument
