"""What passes share that write new nodes: their shapes,
and comparing shapes with symbols in them."""

from typing import Any

from torch.fx import GraphModule, Node
from torch.fx.node import map_arg

from camport.export.private_torch import enable_python_dispatcher


def call(graph: GraphModule, target: Any, *args: Any, **kwargs: Any) -> Node:
    """A new node at the graph's insertion point,
    with the value that it has for the traced shapes in its meta."""
    node = graph.graph.call_function(target, args, kwargs)
    values, named = map_arg((args, kwargs), lambda source: source.meta["val"])
    with enable_python_dispatcher():
        node.meta["val"] = target(*values, **named)
    return node


def arguments(node: Node) -> Any:
    """A node's arguments, of whatever types its operator takes."""
    return list(node.args)


def same(a: Any, b: Any) -> bool:
    """Whether two lengths, or shapes, are equal for every value of the symbols in them.

    Comparing symbols themselves could fix them to the value they were traced with.
    """
    if isinstance(a, tuple | list):
        return (
            isinstance(b, tuple | list)
            and len(a) == len(b)
            and all(same(x, y) for x, y in zip(a, b, strict=True))
        )
    return str(a) == str(b)


def rank(node: Node) -> int:
    """How many axes a node's tensor has."""
    return int(node.meta["val"].dim())
