"""Where in a model tracing failed: the module at work, and the operator that it asked for."""

import re
from pathlib import Path
from types import TracebackType

from torch import nn
from torch.fx import Node

from camport.errors import ExportError, reasons

OWN = ("torch", "camport")
"""Packages whose modules and functions are passed over: they are how the model's code is run, not what it is."""


def untraceable(error: BaseException) -> ExportError:
    """What to say of a model that failed with `error` on fake tensors.

    It ran eagerly before, so a model that "could not be run" is one that could not be traced.
    """
    cause = error.__cause__ or error
    first_line = (str(cause).strip() or "no reason given").splitlines()[0][:200]
    return ExportError(
        f"the explained model cannot be traced: {type(cause).__name__}: {first_line}{blamed(error)}. "
        "Its forward pass and its method must be tensor operations without branches on values, .item() or numpy"
    )


def blamed(error: BaseException) -> str:
    """What stood in the way, e.g. " (aten.nonzero.default in ViltEmbeddings.visual_embed, modeling_vilt.py:118)".

    Empty where no module's code was at work.
    """
    place = ""
    for reason in reasons(error, handled=False):
        place = _innermost(reason.__traceback__) or place
    operator = re.search(r"\b(aten|torchvision|prims)[.:]+\w+(\.\w+)?", f"{error} {error.__cause__ or ''}")
    if not place:
        return f" ({operator[0]})" if operator else ""
    return f" ({operator[0]} in {place})" if operator else f" (in {place})"


def _innermost(trace: TracebackType | None) -> str:
    found = ""
    while trace is not None:
        frame = trace.tb_frame
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        module = frame.f_locals.get("self")
        if isinstance(module, nn.Module) and package not in OWN:
            where = f"{Path(frame.f_code.co_filename).name}:{trace.tb_lineno}"
            found = f"{type(module).__name__}.{frame.f_code.co_name}, {where}"
        trace = trace.tb_next
    return found


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
