"""Refuses, before anything long starts, a graph with an operator that no rule lowers and ONNX does not have."""

from functools import cache
from typing import Any

import torch
from torch.fx import GraphModule, Node

from camport.errors import ExportError
from camport.export import translations
from camport.export.graph import is_call
from camport.export.loops import LOOP, all_nodes
from camport.export.quiet import quiet


def check_supported(graph: GraphModule) -> None:
    """Looks every operator of a lowered graph up.

    Raises:
        ExportError: naming each ATen operator without an ONNX form and where it comes from.
    """
    known = _translatable()
    missing: dict[str, str] = {}
    for node in all_nodes(graph):
        if is_call(node, LOOP):
            continue
        if node.op == "call_function" and hasattr(node.target, "_schema"):
            if not known(node.target):
                missing.setdefault(str(node.target), origin(node))
            elif _masked(node):
                missing.setdefault(f"{node.target} with a mask among the indices", origin(node))
    if missing:
        listed = "; ".join(f"{name} {place}" for name, place in missing.items())
        raise ExportError(
            f"no ONNX form for {listed}. Choose a later layer, so that the gradient does not pass through it, "
            "or replace the module"
        )


@cache
def _translatable() -> Any:
    """Whether an overload is translated, by us or by torch.onnx, or decomposes into what is."""
    from torch._decomp import core_aten_decompositions
    from torch.onnx._internal.exporter._registration import ONNXRegistry

    with quiet():
        registry = ONNXRegistry.from_torchlib()
    own, decomposed = translations.table(), core_aten_decompositions()

    def known(target: Any) -> bool:
        return target in own or registry.is_registered(target) or target in decomposed or target.namespace == "prim"

    return known


def _masked(node: Node) -> bool:
    """Whether values are put where a mask says, beside other indices: torch.onnx refuses that at the very end."""
    if "index_put" not in str(node.target):
        return False
    indices = node.args[1]
    given = [i.meta.get("val") for i in indices if isinstance(i, Node)] if isinstance(indices, list | tuple) else []
    return len(indices) > 1 and any(getattr(v, "dtype", None) == torch.bool for v in given)  # type: ignore[arg-type]


def origin(node: Node) -> str:
    """Where a node comes from: the module whose constants are nearest before it, else its place in the graph."""
    queue, seen = [node], {node}
    while queue:
        current = queue.pop(0)
        if current.op == "get_attr":
            module = str(current.target).rpartition(".")[0]
            return f"(at or after module {module!r})" if module else f"(near {current.target!r})"
        for source in current.all_input_nodes:
            if source not in seen:
                seen.add(source)
                queue.append(source)
    return f"(node {node.name!r})"
