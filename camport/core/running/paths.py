"""Which tensors lead to the score, and which carry all of the image there:
read from autograd's graph, not computed."""

from collections.abc import Callable, Collection, Sequence

import torch
from torch import Tensor
from torch.autograd.graph import Node


class Paths:
    """The paths in autograd's graph from the score back to where the image comes in.

    Args:
        root: the score's node.
        sources: the nodes at which the image comes in.
        within: the nodes that count; None is all.

    Attributes:
        reached: the nodes that lead to the score.
        carrying: those of them on a path from a source to the score.
        whole: those through which every such path leads (dominators of the sources in the graph).
    """

    def __init__(
        self, root: Node, sources: Collection[Node], within: Collection[Node] | None = None
    ) -> None:
        order = [node for node in ancestors_first([root]) if within is None or node in within]
        self.reached = set(order)
        self.carrying = descending(order, sources)
        self.whole = _on_every_path(
            [n for n in reversed(order) if n in self.carrying], self.carrying, sources
        )


def alive(y: Tensor, leaves: Sequence[Tensor]) -> set[Node]:
    """The nodes between y [b] and the leaves at which its gradient is other than zero,
    found by a backward pass.

    Zeros are what a slice of joined outputs sends back to the others.
    """
    found: set[Node] = set()

    def note(node: Node) -> Callable[[tuple[Tensor | None, ...]], None]:
        def noted(gradients: tuple[Tensor | None, ...]) -> None:
            if any(gradient is not None and bool(gradient.any()) for gradient in gradients):
                found.add(node)

        return noted

    assert y.grad_fn is not None
    handles = [node.register_prehook(note(node)) for node in ancestors_first([y.grad_fn])]
    try:
        torch.autograd.grad(y.sum(), list(leaves), retain_graph=True, allow_unused=True)
    finally:
        for handle in handles:
            handle.remove()
    return found


def ancestors_first(roots: Collection[Node]) -> list[Node]:
    """Every node from which one of `roots` was computed,
    each behind those that it was computed from."""
    found: list[Node] = []
    seen: set[Node] = set()
    for root in roots:
        open_nodes = [(root, False)]
        while open_nodes:
            node, done = open_nodes.pop()
            if done:
                found.append(node)
            elif node not in seen:
                seen.add(node)
                open_nodes.append((node, True))
                open_nodes += [(n, False) for n in _from(node) if n not in seen]
    return found


def descending(order: Collection[Node], sources: Collection[Node]) -> set[Node]:
    """The nodes of `order` (ancestors first) that are computed from one of `sources`,
    these included."""
    found: set[Node] = set()
    for node in order:
        if node in sources or any(n in found for n in _from(node)):
            found.add(node)
    return found


def _on_every_path(
    order: Collection[Node], carrying: set[Node], sources: Collection[Node]
) -> set[Node]:
    """A node is on every path where, all nodes behind it done, no edge of theirs leads past it."""
    found: set[Node] = set()
    into: dict[Node, int] = {}
    past = 0
    for node in order:
        past -= into.get(node, 0)
        if not past:
            found.add(node)
        onward = [n for n in _from(node) if n in carrying]
        for n in onward:
            into[n] = into.get(n, 0) + 1
        past += len(onward) + (node in sources)
    return found


def _from(node: Node) -> list[Node]:
    return [n for n, _ in node.next_functions if n is not None]
