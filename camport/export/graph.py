"""The graph every part of this room works on, and the few operations they share.

A lowered program is a `torch.fx.GraphModule` with three invariants:

- its placeholders are the graph inputs, in order, under their public names;
- its output is a tuple, in the order of the public output names;
- every constant is a buffer, read by `get_attr` under its dotted name, each tensor held once.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn
from torch.fx import GraphModule, Node


def is_call(node: Any, *targets: Any) -> bool:
    """Whether `node` is a node that calls one of `targets`."""
    return isinstance(node, Node) and node.op == "call_function" and node.target in targets


def shape_of(node: Node) -> tuple[Any, ...]:
    """The (possibly symbolic) shape that was seen at `node` while tracing."""
    return tuple(node.meta["val"].shape)


def set_buffer(root: nn.Module, name: str, value: Tensor) -> None:
    """Stores `value` under the dotted `name`, making the modules in between."""
    *path, leaf = name.split(".")
    module = root
    for part in path:
        child = module._modules.get(part)
        if child is None:
            child = nn.Module()
            module.add_module(part, child)
        module = child
    module.register_buffer(leaf, value)


def get_buffer(root: nn.Module, name: str) -> Any:
    """What is stored under the dotted `name`: a tensor, or the body of a loop."""
    module: Any = root
    for part in name.split("."):
        module = getattr(module, part)
    return module


def constants(graph: GraphModule) -> Iterator[Node]:
    """The nodes that read a constant."""
    return (node for node in graph.graph.nodes if node.op == "get_attr")


def constant_of(graph: GraphModule, node: Any) -> Tensor | None:
    """The tensor that `node` reads, or None where it is computed."""
    if isinstance(node, Node) and node.op == "get_attr":
        return get_buffer(graph, str(node.target))
    return None


def state_of(graph: GraphModule) -> dict[str, Tensor]:
    """The constants in use, by dotted name."""
    read = {str(node.target): get_buffer(graph, str(node.target)) for node in constants(graph)}
    return {name: value for name, value in read.items() if isinstance(value, Tensor)}


def free_name(graph: nn.Module, name: str) -> str:
    """`name`, or the first of `name_1`, `name_2`, ... that no constant has.

    A model may keep tensors in a dictionary, by device say; a part "cpu" of such a name becomes
    "cpu_", since a module has a method of that name.
    """
    name = ".".join(f"{part}_" if hasattr(GraphModule, part) else part for part in name.split("."))
    taken = {n for n, _ in graph.named_buffers(remove_duplicate=False)}
    taken |= {n for n, _ in graph.named_modules(remove_duplicate=False)}
    candidate, n = name, 0
    while candidate in taken:
        n += 1
        candidate = f"{name}_{n}"
    return candidate


def compile_graph(graph: GraphModule) -> GraphModule:
    """Drops dead nodes, checks the graph and regenerates its code."""
    graph.graph.eliminate_dead_code(lambda node: node.is_impure(impure_random=False))
    graph.graph.lint()
    graph.recompile()
    return graph


def sealed(graph: GraphModule) -> GraphModule:
    """A graph to be saved: it holds the constants in use and no other,
    and returns a plain tuple."""
    root = nn.Module()
    for name, value in state_of(graph).items():
        set_buffer(root, name, value)
    for name, child in graph.named_children():
        if isinstance(child, GraphModule):  # the body of a loop
            root.add_module(name, child)
    (output,) = (node for node in graph.graph.nodes if node.op == "output")
    results: Any = output.args[0]
    output.args = (tuple(results),)
    return GraphModule(root, graph.graph)


def aten_histogram(graph: GraphModule) -> dict[str, int]:
    """How often each operator is called, the most frequent first."""
    names = (
        node.target._schema.name for node in graph.graph.nodes if hasattr(node.target, "_schema")
    )
    return dict(Counter(name.removeprefix("aten::") for name in names).most_common())
