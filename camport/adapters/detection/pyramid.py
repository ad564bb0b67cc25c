"""The levels of a detector's pyramid, found from what is connected and not from the order in which
it ran.

Candidates are rows, and each row is made of one place of one map. Going back from the outputs, the
first maps over the image that are met are the ends of the head's branches: of boxes, of classes, of
key points. Those of one size belong to one level, and the map that the head takes in there is the
nearest one through which every path from the image to any of them leads (their common dominator)
and behind which weights follow on every path. An attention in the trunk leaves the maps as well,
but comes back to them before the outputs are reached.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from camport.core.running.dataflow import Dataflow
from camport.core.running.runs import Run

# fmt: off
RESHAPING = frozenset([
    "reshape", "view", "flatten", "unflatten", "permute", "transpose", "movedim", "moveaxis",
    "swapaxes", "squeeze", "unsqueeze", "einsum", "contiguous",
    "__get__",  # x.mT, x.T
])
# fmt: on
_WEIGHTS = ("conv", "linear", "matmul", "__matmul__", "addmm", "bmm", "mm", "einsum", "gemm")


def levels(runs: Sequence[Run], dataflow: Dataflow) -> list[int]:
    """The runs that put out what the head takes in, the finest level first;
    none where the outputs come from no maps.

    A level that is no module's output, as where a function scales or pools it, is explained where
    it comes from: at the nearest map before it that is one. A head that is a module and projects
    its levels before its branches begin is explained at what it takes in.
    """
    graph = _Graph(dataflow)
    # the outermost module
    maker = {run.output: i for i, run in enumerate(runs) if run.plain and len(run.shape) == 4}
    found, before = list[int](), list[int | None]()
    for ends in graph.levels():
        chain = [number for number in graph.dominators(ends) if number in maker]
        nearest = next((number for number in chain if graph.weighted(number)), None)
        if nearest is not None:
            found.append(nearest)
            taken = _taken_by_head(runs, maker[nearest])
            before.append(
                next((n for n in chain if (n, runs[maker[nearest]].shape[2:]) in taken), None)
            )
    if None not in before and len(set(before)) == len(before):
        found = [number for number in before if number is not None]
    makers = dict.fromkeys(maker[number] for number in found)
    return sorted(makers, key=lambda i: (-_cells(runs[i]), runs[i].name))


def _taken_by_head(runs: Sequence[Run], inner: int) -> set[tuple[int, tuple[Any, ...]]]:
    """The maps, with their sizes, that a module takes in which takes maps of several sizes and
    inside which `inner` ran, which it does not put out: a neck puts out what is made in it.
    """
    found = set[tuple[int, tuple[Any, ...]]]()
    for h, run in enumerate(runs):
        inside = run.start <= inner < h and runs[inner].output not in run.results
        if inside and len({size for _, size in run.inputs}) > 1:
            found.update(run.inputs)
    return found


class _Graph:
    """The dataflow from the image to the outputs.

    Attributes:
        sources: of each value that is made of the image, those that it is made of.
        maps: the values that are maps over the image.
    """

    def __init__(self, dataflow: Dataflow) -> None:
        assert dataflow.image is not None
        self.values, self.image = dataflow.values, dataflow.image
        behind = self._behind_image()
        self.sources = {
            n: [s for s in self.values[n].sources if s in behind] for n in sorted(behind)
        }
        said = [n for n in dataflow.outputs if n in behind and n != self.image]
        tables = [n for n in said if len(self.values[n].shape) == 3]
        self.outputs = tables or [n for n in said if len(self.values[n].shape) < 4]
        self.maps = self._maps()
        self._weights = self._fewest_weights()

    def ends(self) -> dict[tuple[int, ...], list[int]]:
        """The maps that the outputs are read from without another map between,
        by their size (height, width)."""
        found: dict[tuple[int, ...], list[int]] = {}
        queue, seen = list(self.outputs), set(self.outputs)
        while queue:
            number = queue.pop()
            if number in self.maps:
                found.setdefault(self._size(number), []).append(number)
                continue
            fresh = [s for s in self.sources[number] if s not in seen]
            seen.update(fresh)
            queue += fresh
        found.pop(self._size(self.image), None)
        return found

    def levels(self) -> list[list[int]]:
        """The ends of each level's branches: those of one size; where weights follow on all of
        them, as behind what a second stage cuts out, each is a level of its own.
        """
        found = list[list[int]]()
        for ends in self.ends().values():
            apart = len(ends) > 1 and all(self.weighted(n) for n in ends)
            found += [[n] for n in ends] if apart else [ends]
        return found

    def dominators(self, ends: Sequence[int]) -> list[int]:
        """The maps through which all paths from the image to `ends` lead, the nearest first;
        the image not among them.

        In an order in which sources stand first, a value's nearest dominator is where those of its
        sources meet (Cooper, Harvey and Kennedy, "A simple, fast dominance algorithm", 2001).
        """
        order = self._sorted(ends)
        place = {number: i for i, number in enumerate(order)}
        above = [0]
        for i, sources in enumerate([*(self.sources[n] for n in order[1:]), ends], start=1):
            # what is written into may be its own source
            before = [place[s] for s in sources if place.get(s, i) < i]
            nearest = before[0]
            for other in before[1:]:
                while nearest != other:
                    nearest, other = (
                        (above[nearest], other) if nearest > other else (nearest, above[other])
                    )
            above.append(nearest)
        chain, i = list[int](), above[-1]
        while i:
            chain.append(order[i])
            i = above[i]
        return [number for number in chain if number in self.maps]

    def weighted(self, number: int) -> bool:
        """Whether weights follow on every path to the outputs:
        a last convolution's output is no head's input."""
        return self._weights.get(number, 0) > 0

    def _sorted(self, ends: Sequence[int]) -> list[int]:
        """The image and all that leads from it to `ends`, each behind its sources."""
        order, seen = [self.image], {self.image}
        stack = [(end, False) for end in ends]
        while stack:
            number, done = stack.pop()
            if done:
                order.append(number)
            elif number not in seen:
                seen.add(number)
                stack.append((number, True))
                stack += [(s, False) for s in self.sources[number] if s not in seen]
        return order

    def _behind_image(self) -> set[int]:
        """All that is made of the image."""
        users: list[list[int]] = [[] for _ in self.values]
        for number, value in enumerate(self.values):
            for source in value.sources:
                users[source].append(number)
        found, queue = {self.image}, [self.image]
        while queue:
            fresh = [n for n in users[queue.pop()] if n not in found]
            found.update(fresh)
            queue += fresh
        return found

    def _maps(self) -> set[int]:
        """The image, what is made of maps by operations that keep places,
        and what comes back to the size of a map."""
        found = {self.image}
        sizes = {self.image: {self._size(self.image)}}  # of the nearest maps before each value
        for number, sources in self.sources.items():
            if number == self.image:
                continue
            near = set[tuple[int, ...]]().union(*(sizes.get(s, ()) for s in sources))
            if self._is_map(number, sources, found, near):
                found.add(number)
                near = {self._size(number)}
            sizes[number] = near
        return found

    def _is_map(
        self, number: int, sources: Sequence[int], maps: set[int], near: set[tuple[int, ...]]
    ) -> bool:
        value, image = self.values[number], self.values[self.image]
        # heads of an attention and cut-outs have more
        if len(value.shape) != 4 or value.shape[0] != image.shape[0]:
            return False
        before = [s for s in sources if s in maps]
        if before:
            return value.op not in RESHAPING or any(
                self.values[s].shape == value.shape for s in before
            )
        ranks = {len(self.values[s].shape) for s in sources}
        if value.op not in RESHAPING and 4 in ranks:
            return False  # channels last, or the bins of a box's sides
        size = self._size(number)
        return size in near or any(
            _scaled(size, other) and (max(ranks) > 4 or other == self._size(self.image))
            for other in near
        )

    def _size(self, number: int) -> tuple[int, ...]:
        return tuple(self.values[number].shape[2:])

    def _fewest_weights(self) -> dict[int, int]:
        """Of each value that leads to the outputs,
        on how many operations with weights it does at the least."""
        fewest, wave = dict.fromkeys(self.outputs, 0), list(self.outputs)
        while wave:
            following = list[int]()
            for number in wave:
                step = fewest[number] + self.values[number].op.lower().startswith(_WEIGHTS)
                for source in self.sources[number]:
                    if step < fewest.get(source, step + 1):
                        fewest[source] = step
                        following.append(source)
            wave = following
        return fewest


def _scaled(size: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Whether one is a whole multiple of the other, the same along both axes: pixels shuffled,
    repeated or patched."""
    large, small = max(size, other), min(size, other)
    return (
        all(n > 0 and m % n == 0 for m, n in zip(large, small, strict=True))
        and len({m // n for m, n in zip(large, small, strict=True)}) == 1
    )


def _cells(run: Run) -> int:
    return int(run.shape[2] * run.shape[3])
