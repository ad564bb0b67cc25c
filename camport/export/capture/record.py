"""Records one call of a function, autograd included,
as a graph of ATen operators over fake tensors.

Why by hand and not by torch.export: torch.export and torch.onnx cannot see through
`torch.autograd.grad`. make_fx runs below autograd and records what it calls. Four contexts make
what it records fit for every input:

- the fake mode: no operator computes a value, so none can be baked in as a constant;
- the python dispatcher: without it operators compute sizes in C++ and the batch becomes a number;
- the second gradient of convolutions in Python, for the same reason;
- the plain attention kernel: the fused ones have no derivative that an exporter knows.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor
from torch.fx import GraphModule
from torch.nn.attention import SDPBackend, sdpa_kernel

from camport.errors import ExportError
from camport.export.capture.call_sites import MarkedNodes
from camport.export.capture.second_gradient import second_gradient
from camport.export.capture.whole_operators import PreserveOperators
from camport.export.graph import compile_graph, free_name, set_buffer
from camport.export.private_torch import (
    FakeTensor,
    FakeTensorMode,
    enable_python_dispatcher,
    make_fx,
    plain_signature,
)

SAMPLE_BATCH = 13
"""The batch size that stands behind the symbol `b` while tracing. 0 and 1 would specialise, and a
small number could not be told from an axis of a constant that has nothing to do with the batch."""


def record(
    mode: FakeTensorMode,
    function: Callable[..., Any],
    arguments: Sequence[Any],
    rules: Mapping[Any, Callable[..., Any]] | None = None,
) -> GraphModule:
    """The graph of `function(*arguments)`, whose tensors are fake ones of `mode`.

    Args:
        mode: holds the symbols of the free axes.
        function: what to record.
        arguments: fake tensors, or lists of them.
        rules: ATen overload -> function to record in its place.
    """

    def marked(*given: Any) -> Any:
        with MarkedNodes():
            return function(*given)

    with as_traced(mode):
        return make_fx(marked, decomposition_table=dict(rules or {}), _allow_non_fake_inputs=True)(
            *arguments
        )


@contextmanager
def as_traced(mode: FakeTensorMode) -> Iterator[None]:
    """While open, PyTorch calls the operators that a graph would have,
    on fake tensors of `mode`."""
    with (
        mode,
        enable_python_dispatcher(),
        second_gradient(),
        sdpa_kernel(SDPBackend.MATH),
        PreserveOperators(),
    ):
        yield


def restore_state(graph: GraphModule, tensors: list[tuple[str, Tensor]], inputs: list[str]) -> None:
    """Turns the placeholders of lifted constants into reads of buffers, and names the others."""
    nodes = graph.graph
    plain_signature(graph)
    placeholders = [node for node in nodes.nodes if node.op == "placeholder"]
    keep_baked(graph)
    for node, (name, tensor) in zip(placeholders, tensors, strict=False):
        if node.users:
            name = free_name(graph, name)
            set_buffer(graph, name, tensor.detach())
            with nodes.inserting_before(node):
                read = nodes.get_attr(name)
            read.meta = dict(node.meta)
            node.replace_all_uses_with(read)
        nodes.erase_node(node)
    for node, name in zip(placeholders[len(tensors) :], inputs, strict=True):
        node.name = name
        node.target = name
    compile_graph(graph)


def keep_baked(graph: GraphModule) -> None:
    """Makes buffers of the tensors that the recorded function made from nothing.

    Raises:
        ExportError: if one has the batch's size.
    """
    for name in {str(node.target) for node in graph.graph.nodes if node.op == "get_attr"}:
        value = getattr(graph, name)
        if not isinstance(value, Tensor) or isinstance(value, FakeTensor):
            continue
        if value.dim() and value.shape[0] == SAMPLE_BATCH:
            raise ExportError(
                f"a tensor of shape {list(value.shape)} was computed outside of the traced program"
                " and would be baked into the graph with its batch size; compute it from the"
                " images"
            )
        graph._buffers.pop(name, None)
        graph.register_buffer(name, value.detach())
