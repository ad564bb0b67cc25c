"""Refuses what does not compute in float32: files are written from that, in half precision too."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.fx import GraphModule

from camport.errors import ExportError
from camport.export.capture.loops import all_nodes
from camport.export.failure_location import locate_node, origin

_NARROW = (torch.float16, torch.bfloat16)


def check_state(state: Mapping[str, Tensor]) -> None:
    """Looks at the model's tensors before anything is traced.

    Raises:
        ExportError: one is in half precision, or all are in float64.
    """
    floating = {name: t.dtype for name, t in state.items() if t.dtype.is_floating_point}
    wide = floating and all(kind == torch.float64 for kind in floating.values())
    for name, kind in floating.items():
        if wide or kind in _NARROW:
            raise ExportError(
                f"{name!r} is {_word(kind)}; files are written from a float32 model: model.float()."
                ' precision="float16" writes one in half precision'
            )


def check_graph(graph: GraphModule) -> None:
    """Looks at what a captured graph computes.

    Raises:
        ExportError: in half precision, as a model does that holds an autocast of its own.
    """
    for node in all_nodes(graph):
        kind = getattr(node.meta.get("val"), "dtype", None)
        if kind in _NARROW:
            refusal = ExportError(
                f"the model computes in {_word(kind)} ({node.target} {origin(node)}), though its"
                " parameters are float32: take the autocast or the cast out of its forward"
            )
            raise locate_node(refusal, node)


def _word(kind: torch.dtype) -> str:
    return str(kind).removeprefix("torch.")
