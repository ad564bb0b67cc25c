"""Loops in a graph: what `Probe.each` and `Probe.total` become while they are traced.

The body is recorded apart, once, as a graph of its own. What its step uses from around it - the
images, the target, activations, the model's tensors - is found by running: a tensor that the body
did not make is one that it needs. In the outer graph the loop is one operator, `camport::loop`,
which every pass and rule may ignore; `camport.export.rewrite.scan` writes it in what a file can
hold.
"""

import itertools
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.fx import GraphModule, Node

from camport.core.maps.loop import Step, Tick, looping
from camport.errors import ExportError
from camport.export.capture.record import record, restore_state
from camport.export.graph import compile_graph, free_name, is_call, set_buffer, state_of
from camport.export.private_torch import FakeTensor, FakeTensorMode, disable_proxy_modes_tracing


@dataclass(eq=False)
class Body:
    """One turn of a loop: `graph(*codes of the chunk, *values)` gives one tensor.

    Attributes:
        graph: placeholders as above; constants are buffers of its own that share the model's
            memory.
        mode: the fake tensors at its placeholders belong to it.
        exact: float64 values of constants that were computed and then rounded.
    """

    graph: GraphModule
    mode: FakeTensorMode
    exact: dict[str, Tensor] = field(default_factory=dict)

    def run(
        self,
        codes: Sequence[Tensor],
        values: Sequence[Tensor],
        start: Tensor | None,
        *,
        exact: bool,
    ) -> Tensor:
        """The whole loop; codes are [k,m,...]: all results stacked,
        or their sum added to `start`."""
        state = {**state_of(self.graph), **self.exact} if exact else {}
        results = []
        for i in range(codes[0].shape[0]):
            (result,) = torch.func.functional_call(
                self.graph, state, (*(code[i] for code in codes), *values)
            )
            if start is None:
                results.append(result)
            else:
                start = start + result
        return torch.stack(results) if start is None else start


_BODIES: weakref.WeakValueDictionary[int, Body] = weakref.WeakValueDictionary()
_numbers = itertools.count()


def bodies(graph: GraphModule) -> dict[int, Body]:
    """The bodies of the loops in `graph`, by their number; who keeps the graph must keep them."""
    numbers: list[Any] = [node.args[3] for node in graph.graph.nodes if is_call(node, LOOP)]
    return {number: _BODIES[number] for number in numbers}


def all_nodes(graph: GraphModule) -> Iterator[Node]:
    """The nodes of `graph` and of the bodies of its loops."""
    for part in (graph, *(body.graph for body in bodies(graph).values())):
        yield from part.graph.nodes


class GraphLoop:
    """A `camport.core.maps.loop.Loop` that records its step and leaves one operator in the graph
    being traced.

    Args:
        inputs: the fake inputs of that graph; their sizes are the symbols a body may use.
        constants: fake tensor, name and real tensor of the model's state.
        mode: the fake mode of that graph.
    """

    def __init__(
        self,
        inputs: list[Tensor],
        constants: list[tuple[Tensor, str, Tensor]],
        mode: FakeTensorMode,
    ) -> None:
        self.inputs, self.mode = inputs, mode
        self.constants = {id(fake): (name, real) for fake, name, real in constants}
        self.made: list[Body] = []

    def __call__(
        self, step: Step, codes: Sequence[Tensor], chunk: int, total: bool, tick: Tick | None
    ) -> Tensor:
        """Records `step` for one chunk; chunks are as equal as can be,
        the last one filled up with its last code."""
        r = codes[0].shape[0]
        if not isinstance(r, int):
            raise ExportError(
                "the number of variants in a loop depends on the input; it must be fixed in a file"
            )
        turns = -(-r // chunk)
        m = -(-r // turns)
        missing = turns * m - r
        given = list(codes)
        if missing:
            given = [
                torch.cat([code, code[-1:].expand(missing, *code.shape[1:])]) for code in codes
            ]
        if total and missing:
            given.append(F.pad(torch.ones(r), (0, missing)))

        def turn(*part: Tensor) -> Tensor:
            if not total:
                return step(*part).detach()
            results = step(*part[: len(codes)]).detach()
            if missing:
                results = results * part[-1].reshape(-1, *[1] * (results.dim() - 1)).to(
                    results.dtype
                )
            return results.sum(0)

        body, values, result = self._body(turn, [code[:m] for code in given])
        number = next(_numbers)
        _BODIES[number] = body
        self.made.append(body)
        start = torch.zeros(result.shape, dtype=result.dtype) if total else None
        chunks = [code.reshape(turns, m, *code.shape[1:]) for code in given]
        results = LOOP(chunks, values, start, number)
        return results if total else results.flatten(0, 1)[:r]

    def _body(self, turn: Step, codes: list[Tensor]) -> tuple[Body, list[Tensor], Tensor]:
        """The recorded turn, the outer tensors it needs, and a fake result."""
        results: list[Tensor] = []

        def flat(*arguments: Tensor) -> list[Tensor]:
            with looping(_refuse_nested):
                results[:] = [turn(*arguments[: len(codes)])]
            return results

        with disable_proxy_modes_tracing():
            parts = [torch.empty(code.shape, dtype=code.dtype) for code in codes]
            graph = record(self.mode, flat, (*parts, *self.inputs))
        restore_state(
            graph,
            [],
            [
                *(f"code_{i}" for i in range(len(codes))),
                *(f"value_{i}" for i in range(len(self.inputs))),
            ],
        )
        placeholders = [node for node in graph.graph.nodes if node.op == "placeholder"]
        values = list(self.inputs)
        last = placeholders[-1]
        found: dict[int, Any] = {}
        for node in [n for n in graph.graph.nodes if n.op == "get_attr"]:
            held = getattr(graph, str(node.target))
            if not isinstance(held, FakeTensor):
                continue
            if id(held) in found:
                read = found[id(held)]
            elif id(held) in self.constants:
                name, real = self.constants[id(held)]
                name = free_name(graph, name)
                set_buffer(graph, name, real)
                with graph.graph.inserting_before(node):
                    read = graph.graph.get_attr(name)
            else:
                with graph.graph.inserting_after(last):
                    read = last = graph.graph.placeholder(f"value_{len(values)}")
                values.append(held)
            found[id(held)] = read
            read.meta = dict(node.meta, val=held)
            node.replace_all_uses_with(read)
            graph.graph.erase_node(node)
        for node, value in zip(placeholders[len(codes) :], self.inputs, strict=True):
            if not node.users:
                values = [v for v in values if v is not value]
                graph.graph.erase_node(node)
        compile_graph(graph)
        return Body(graph, self.mode), values, results[0]


def _refuse_nested(
    step: Step, codes: Sequence[Tensor], chunk: int, total: bool, tick: Tick | None
) -> Tensor:
    raise ExportError("a loop inside a loop cannot be exported; flatten the codes of both into one")


def _fake(codes: list[Tensor], values: list[Tensor], start: Tensor | None, body: int) -> Tensor:
    if start is not None:
        return torch.empty_like(start)
    (result,) = _BODIES[body].graph(*(code[0] for code in codes), *values)
    return result.new_empty((codes[0].shape[0], *result.shape))


def _run(codes: list[Tensor], values: list[Tensor], start: Tensor | None, body: int) -> Tensor:
    return _BODIES[body].run(codes, values, start, exact=False)


_library = torch.library.Library("camport", "FRAGMENT")
_library.define("loop(Tensor[] codes, Tensor[] values, Tensor? start, int body) -> Tensor")
torch.library.impl(_library, "loop", "CompositeExplicitAutograd")(_run)
torch.library.register_fake("camport::loop", _fake, lib=_library)

LOOP = torch.ops.camport.loop.default


def exact_loop(
    codes: list[Tensor], values: list[Tensor], start: Tensor | None, body: int
) -> Tensor:
    """`camport::loop` with the body's constants as exact as they are known."""
    return _BODIES[body].run(codes, values, start, exact=True)
