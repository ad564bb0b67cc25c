"""Where an export failed: pass, operator, module, and the line of the model's own code."""

from __future__ import annotations

import linecache
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, TypeVar

from torch import nn
from torch.autograd.function import FunctionCtx
from torch.fx import GraphModule, Node

from camport.core.adapter import Adapter
from camport.core.explainer import Explainer
from camport.errors import ExportError, reasons

OWN = ("torch", "camport", "jaxtyping", "beartype")
"""Packages whose code is passed over: how the model's code is run, not what it is.

The last two wrap functions whose types they check."""

SITE = "camport.site"
"""Key of a node's meta: the `Site` that its operator was called from."""

GENERATED = "<eval_with_key>"
"""What the file names of graphs' code begin with."""

_OPERATOR = re.compile(r"\b(aten|torchvision|prims)[.:]+\w+(\.\w+)?")
E = TypeVar("E", bound=BaseException)


@dataclass(frozen=True)
class Site:
    """Where an operator was called.

    Attributes:
        modules: those that were being run, the innermost first.
        method: the method or adapter that calls it itself: "method 'rise' (RISE)".
        line: of the innermost code that is neither PyTorch's nor ours: "net.py:12 in forward".
    """

    modules: tuple[nn.Module, ...] = ()
    method: str = ""
    line: str = ""

    @property
    def module(self) -> str:
        """The innermost module by its path, "'features.3' (Sampled)"; or the method."""
        if not self.modules:
            return self.method
        path: list[str] = []
        for inner, outer in pairwise(self.modules):
            names = (name for name, module in outer.named_modules() if module is inner)
            path.insert(0, next(names, "?"))
        name, kind = ".".join(path), type(self.modules[0]).__name__
        return f"{name!r} ({kind})" if name else kind

    def __deepcopy__(self, memo: Any) -> Site:
        return self  # the modules are the model's, also in a copied graph


@dataclass(frozen=True)
class Location:
    """What is known of the place of a failure; "" where nothing is."""

    graph_pass: str = ""
    operator: str = ""
    module: str = ""
    line: str = ""

    def __str__(self) -> str:
        names = {"graph_pass": "pass"}
        parts = ((names.get(name, name), value) for name, value in vars(self).items() if value)
        return "".join(f"; {name}: {value}" for name, value in parts)


def locate(error: E, operator: str, site: Site) -> E:
    """The error, with where it stands: what no traceback shows."""
    return _told(error, operator=operator, module=site.module, line=site.line)


def locate_node(error: E, node: Node) -> E:
    """The error, with where a node stands."""
    return _told(error, **_of_node(node))


def in_pass(error: E, name: str) -> E:
    """The error, with the pass that raised it."""
    return _told(error, graph_pass=name)


def _told(error: E, **parts: str) -> E:
    vars(error)["camport_location"] = {**vars(error).get("camport_location", {}), **parts}
    return error


def _of_node(node: Node) -> dict[str, str]:
    site = site_of_node(node)
    module = site.module or module_of(node)
    return {"operator": str(node.target), "module": module, "line": site.line}


def location_of(error: BaseException) -> Location:
    """Where an error stands: as it was told, else as its and its causes' tracebacks show."""
    told: dict[str, str] = {}
    node = failing_node(error)
    for reason in reasons(error, handled=False):
        told = {**vars(reason).get("camport_location", {}), **told}
    frames = failure_frames(error)
    site = site_of(frames)
    if "operator" not in told and node is not None:
        told = {**_of_node(node), **told}
    named = _OPERATOR.search(f"{error} {error.__cause__ or ''}")
    return replace(Location("", named[0] if named else "", site.module, site.line), **told)


def failing_node(error: BaseException) -> Node | None:
    """The node that was at work."""
    nodes = (node_at_work(*frame) for frame in failure_frames(error))
    return next((node for node in nodes if node is not None), None)


def failure_frames(error: BaseException) -> list[tuple[FrameType, int]]:
    """The frames of an error and its causes, the innermost first, each with its line."""
    causes = list(reasons(error, handled=False))
    return [frame for cause in reversed(causes) for frame in _frames(cause.__traceback__)]


def site_of(frames: Iterable[tuple[FrameType, int]]) -> Site:
    """The site of these frames, the innermost first, each with its line."""
    modules: list[nn.Module] = []
    method = line = waiting = ""
    for frame, number in frames:
        code = frame.f_code
        if not waiting and _is_foreign(frame):
            waiting = _line(frame, number)
        if not code.co_argcount or code.co_varnames[0] != "self":
            continue
        owner = frame.f_locals.get("self")
        if isinstance(owner, nn.Module):
            modules += [owner] if not modules or modules[-1] is not owner else []
        elif isinstance(owner, Explainer | Adapter):
            kind = "method" if isinstance(owner, Explainer) else "adapter"
            method = method or f"{kind} {owner.name!r} ({type(owner).__name__})"
        else:
            continue
        line = line or waiting  # code outside of all modules is the code that exports
    return Site(tuple(modules), method, line)


def own_backward(frames: Iterable[tuple[FrameType, int]]) -> tuple[Any, str]:
    """An own `autograd.Function` whose backward runs: its node of autograd's graph,
    and the line."""
    line = ""
    for frame, number in frames:
        if not line and _is_foreign(frame):
            line = _line(frame, number)
        if isinstance(frame.f_locals.get("self"), FunctionCtx):
            return frame.f_locals["self"], line
        if frame.f_code.co_name == "_engine_run_backward":
            break
    return None, ""


def calling_frames(depth: int) -> Iterator[tuple[FrameType, int]]:
    """The frames from the caller's `depth`-th on, the innermost first, each with its line."""
    frame: FrameType | None = sys._getframe(depth + 1)
    while frame is not None:
        yield frame, frame.f_lineno
        frame = frame.f_back


def node_at_work(frame: FrameType, line: int) -> Node | None:
    """The node that a frame is about: the one whose code it runs, or its variable `node`."""
    held: Any = frame.f_locals.get("node")
    if frame.f_code.co_filename.startswith(GENERATED):
        graph = frame.f_locals.get("self")
        name = linecache.getline(frame.f_code.co_filename, line).partition(" = ")[0].strip()
        nodes = graph.graph.nodes if isinstance(graph, GraphModule) else ()
        held = next((node for node in nodes if node.name == name), None)
    return held if isinstance(held, Node) else None


def site_of_node(node: Node) -> Site:
    """Where a node's operator was called; of a pass's own, where the nearest before it was."""
    return next((before.meta[SITE] for before in _upstream(node) if SITE in before.meta), Site())


def module_of(node: Node) -> str:
    """The module whose constants are nearest before a node; "" where there are none."""
    for before in _upstream(node):
        if before.op == "get_attr" and (module := str(before.target).rpartition(".")[0]):
            return f"at or after {module!r}"
    return ""


def origin(node: Node) -> str:
    """The module whose constants are nearest before a node, else its place in the graph."""
    for current in _upstream(node):
        if current.op == "get_attr":
            module = str(current.target).rpartition(".")[0]
            return f"(at or after module {module!r})" if module else f"(near {current.target!r})"
    return f"(node {node.name!r})"


def untraceable(error: BaseException) -> ExportError:
    """What to say of a model that failed with `error` on fake tensors.

    It ran eagerly before, so a model that "could not be run" is one that could not be traced.
    """
    cause = error.__cause__ or error
    first_line = (str(cause).strip() or "no reason given").splitlines()[0][:200]
    return ExportError(
        f"the explained model cannot be traced: {type(cause).__name__}:"
        f" {first_line}{blamed(error)}. Its forward pass and its method must be tensor operations"
        " without branches on values, .item() or numpy"
    )


def not_lowered(error: BaseException) -> ExportError:
    """What to say of a captured graph whose operators cannot be written with forward ones."""
    first_line = (str(error).strip() or "no reason given").splitlines()[0][:200]
    at = location_of(error).operator or "an operator"
    return ExportError(f"the rule for {at} failed: {type(error).__name__}: {first_line}")


def blamed(error: BaseException) -> str:
    """What stood in the way: " (aten.nonzero.default in Embeddings.embed, modeling.py:118)".

    Empty where no module's code was at work.
    """
    place = ""
    for reason in reasons(error, handled=False):
        place = next(_of_modules(reason.__traceback__), place)
    operator = _OPERATOR.search(f"{error} {error.__cause__ or ''}")
    if not place:
        return f" ({operator[0]})" if operator else ""
    return f" ({operator[0]} in {place})" if operator else f" (in {place})"


def _of_modules(trace: TracebackType | None) -> Iterator[str]:
    for frame, line in _frames(trace):
        module = frame.f_locals.get("self")
        if isinstance(module, nn.Module) and _is_foreign(frame):
            code, kind = frame.f_code, type(module).__name__
            yield f"{kind}.{code.co_name}, {Path(code.co_filename).name}:{line}"


def _line(frame: FrameType, number: int) -> str:
    return f"{Path(frame.f_code.co_filename).name}:{number} in {frame.f_code.co_name}"


def _is_foreign(frame: FrameType) -> bool:
    """Whether a frame's code is neither ours nor PyTorch's, nor Python's."""
    package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
    known = package in OWN or package in sys.stdlib_module_names
    return not known and not frame.f_code.co_filename.startswith("<")


def _frames(trace: TracebackType | None) -> Iterator[tuple[FrameType, int]]:
    """Those of a traceback, the innermost first, each with its line."""
    found = []
    while trace is not None:
        found.append((trace.tb_frame, trace.tb_lineno))
        trace = trace.tb_next
    return reversed(found)


def _upstream(node: Node) -> Iterator[Node]:
    """A node, and those that it is computed from, the nearest first."""
    queue, seen = [node], {node}
    for current in queue:
        yield current
        new = [source for source in current.all_input_nodes if source not in seen]
        seen.update(new)
        queue += new
