"""Nodes in an order in which they can run. ONNX asks for one; engines sort themselves,
and files rely on that."""

import heapq
from collections.abc import Iterator
from typing import Any


def sort_nodes(graph: Any) -> None:
    """Sorts a graph's or function's nodes in place,
    each behind what it reads and else as they stood.

    A graph whose nodes form a cycle stays as it is: the checker names that.
    """
    nodes = list(graph.node)
    maker = {name: i for i, node in enumerate(nodes) for name in node.output if name}
    needs = [{maker[name] for name in _reads(node) if name in maker} for node in nodes]
    if all(before < i for i, wanted in enumerate(needs) for before in wanted):
        return
    readers: dict[int, list[int]] = {}
    for i, wanted in enumerate(needs):
        for before in wanted:
            readers.setdefault(before, []).append(i)
    left = [len(wanted) for wanted in needs]
    ready = [i for i, count in enumerate(left) if count == 0]
    order = []
    while ready:
        i = heapq.heappop(ready)  # the first that can run, so that an order that was right stays
        order.append(i)
        for reader in readers.get(i, ()):
            left[reader] -= 1
            if left[reader] == 0:
                heapq.heappush(ready, reader)
    if len(order) < len(nodes):
        return
    sorted_nodes = [type(nodes[i]).FromString(nodes[i].SerializeToString()) for i in order]
    del graph.node[:]
    graph.node.extend(sorted_nodes)


def _reads(node: Any) -> Iterator[str]:
    """Names that a node reads, those that graphs within it take from outside among them."""
    yield from node.input
    for attribute in node.attribute:
        for inner in (*([attribute.g] if attribute.HasField("g") else ()), *attribute.graphs):
            for child in inner.node:
                yield from _reads(child)
