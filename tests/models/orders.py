"""The nodes of an .onnx file in other orders, in all of which they can run:
the order tells nothing of the network."""

import random
from pathlib import Path

import onnx

ORDERS = ("breadth first", "depth first", "shuffled")


def reordered(path: Path, order: str, target: Path, seed: int = 0) -> Path:
    """The file with its nodes in another valid order, written to `target`."""
    model = onnx.load(path)
    nodes = list(model.graph.node)
    made = {name: i for i, node in enumerate(nodes) for name in node.output}
    waiting = [{made[name] for name in node.input if name in made} for node in nodes]
    users: list[list[int]] = [[] for _ in nodes]
    for i, sources in enumerate(waiting):
        for source in sources:
            users[source].append(i)
    chance = random.Random(seed)
    ready = [i for i, sources in enumerate(waiting) if not sources]
    placed: list[int] = []
    while ready:
        if order == "shuffled":
            chance.shuffle(ready)
        i = ready.pop(0 if order == "breadth first" else -1)
        placed.append(i)
        for user in users[i]:
            waiting[user].discard(i)
            if not waiting[user]:
                ready.append(user)
    assert len(placed) == len(nodes)
    del model.graph.node[:]
    model.graph.node.extend(nodes[i] for i in placed)
    onnx.save(model, target)
    return target
