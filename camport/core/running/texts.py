"""Tokens that see the image and do not lie on it: a text's, a detector's queries,
and both in one row with the image's.

All of them change with the image and lead to the score; what they are is told by where they come
from.
"""

from collections.abc import Sequence

from torch.autograd.graph import Node

from camport.core.running.paths import ancestors_first, descending
from camport.core.running.runs import Run, attends

APPENDED = 2
"""Tokens that join an image's after an attention: one for the class, one for distillation."""


def mark_texts(runs: Sequence[Run], nodes: Sequence[Node | None]) -> None:
    """Marks the runs whose tokens lie nowhere on the image (`Run.lies`).

    - Those behind an attention among as many tokens that do not move: a text, or queries, that an
      attention lets look at the image. An image's own tokens are made of the image before any of
      them attends.
    - Those behind an attention among fewer tokens, where no maps or tokens of their number come
      from elsewhere: an image's tokens, joined with a text's. The stages of a network have ever
      fewer.

    Args:
        runs: of one forward pass on one image; they know what moves.
        nodes: of their tensors in autograd's graph.
    """
    order = ancestors_first([node for node in nodes if node is not None])
    behind: dict[tuple[bool, int], set[Node]] = {}
    for key in {(run.moves, tokens) for run in runs if (tokens := _attending(run))}:
        of = [
            node
            for run, node in zip(runs, nodes, strict=True)
            if (run.moves, _attending(run)) == key
        ]
        behind[key] = descending(order, {node for node in of if node is not None})
    sizes = [_sizes(run) for run in runs]
    grown = [
        any(
            node in of and tokens + APPENDED < max(size)
            for (moves, tokens), of in behind.items()
            if moves
        )
        for node, size in zip(nodes, sizes, strict=True)
    ]
    known = {
        n
        for run, size, new in zip(runs, sizes, grown, strict=True)
        if run.moves and not new
        for n in size
    }
    for run, node, size, new in zip(runs, nodes, sizes, grown, strict=True):
        if len(run.shape) != 3:
            continue
        asks = node in behind.get((False, size[0]), ())
        joined = new and not known.intersection(range(size[0] - APPENDED, size[0] + 1))
        run.lies = not (asks or joined)


def _attending(run: Run) -> int:
    """Tokens of an attention, in all windows; 0 for other runs.
    Packed tokens [n,c] have no axis for the image."""
    return _sizes(run)[0] if attends(run, packed=True) else 0


def _sizes(run: Run) -> tuple[int, ...]:
    """How many tokens or cells a run may put out: for maps, in either layout."""
    shape = run.shape
    if len(shape) == 4:
        return shape[2] * shape[3], shape[1] * shape[2]
    return (shape[0] * (shape[1] if len(shape) == 3 else 1),) if shape else (0,)
