"""The pyramid of a detector whose every operation is a module, as that of an .onnx file: no head takes it as a whole.

A level ends where its map is reshaped into rows of candidates, and what is explained is the map that the head's own
convolutions of this level begin with: that before the last convolution where there is one, and where there are several
(one for boxes, one for classes) the last map that all of them come from.
"""

from __future__ import annotations

from collections.abc import Sequence

from camport.core.layers import Run

FEWEST = 2


def levels(runs: Sequence[Run]) -> list[int]:
    """The runs that put out the pyramid's levels, in the order in which they end; none where there is no pyramid."""
    graph = _Maps(runs)
    by_size: dict[tuple[int, ...], set[int]] = {}
    for identity, size in graph.ends:
        by_size.setdefault(size, set()).update(graph.convolutions(identity))
    found = [graph.origin(convolutions) for convolutions in by_size.values() if convolutions]
    kept = [i for i in dict.fromkeys(found) if i is not None]
    return kept if len(kept) >= FEWEST else []


class _Maps:
    """Which map is made of which, from the image on.

    Attributes:
        maker: identity of a map -> the run that puts it out.
        ends: identity and size of each map that is made into something else, behind the last that was made of something
            else: an attention in the trunk leaves the maps as well, and comes back to them.
    """

    def __init__(self, runs: Sequence[Run]) -> None:
        self.runs = runs
        self.maker: dict[int, int] = {}
        self.ends: list[tuple[int, tuple[int, ...]]] = []
        sizes: set[tuple[int, ...]] = set()
        made: set[int] = set()
        for i, run in enumerate(runs):
            if not made and run.inputs:
                made.add(run.inputs[0][0])  # the image
            taken = [(identity, size) for identity, size in run.inputs if identity in made]
            if len(run.shape) != 4:
                self.ends += taken[:1] if taken and taken[0][1] in sizes else []
                continue
            size = tuple(run.shape[2:])
            if not taken and size not in sizes:
                continue
            if not taken:
                self.ends.clear()
            made.add(run.output)
            sizes.add(size)
            self.maker.setdefault(run.output, i)

    def convolutions(self, identity: int) -> set[int]:
        """The last convolutions before a map."""
        found, queue, seen = set[int](), [identity], {identity}
        while queue:
            i = self.maker.get(queue.pop())
            if i is None:
                continue
            if self.runs[i].kind == "Conv":
                found.add(i)
                continue
            fresh = [v for v, _ in self.runs[i].inputs if v not in seen]
            seen.update(fresh)
            queue += fresh
        return found

    def origin(self, convolutions: set[int]) -> int | None:
        """The last run whose map all of these convolutions come from."""
        shared = set.intersection(*(self._before(i) for i in convolutions))
        return max(shared, default=None)

    def _before(self, i: int) -> set[int]:
        """All runs that a run's maps are made by."""
        found, queue = set[int](), [i]
        while queue:
            for identity, _ in self.runs[queue.pop()].inputs:
                j = self.maker.get(identity)
                if j is not None and j not in found:
                    found.add(j)
                    queue.append(j)
        return found
