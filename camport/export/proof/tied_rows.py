"""Rows that a network sorts by a score: where two scores tie, either may come first."""

from collections.abc import Iterator

import torch
from torch import Tensor

TIED = 1e-5
"""Scores whose relative distance is below this are taken for equal: float32's rounding through a
network."""


def in_order_of(expected: Tensor, rows: Tensor) -> Tensor:
    """`rows` [b,n,k], with those whose scores tie put in the order in which `expected` has them.

    An end-to-end detector puts out its best candidates, best first. Which of two comes first whose
    confidences differ in the last bit is a matter of rounding, and a whole row of numbers hangs on
    it. So where a column never rises in either, rows are brought together within each run of scores
    that tie; nothing else moves.
    """
    if rows.dim() != 3 or rows.shape != expected.shape or rows.shape[1] < 2:
        return rows
    ordered = rows.clone()
    for image, reference in zip(ordered, expected, strict=True):
        score = next(
            (
                c
                for c in range(image.shape[1])
                if _falling(image[:, c]) and _falling(reference[:, c])
            ),
            None,
        )
        if score is None:
            continue
        for start, end in _runs(reference[:, score]):
            run, wanted = image[start:end].clone(), reference[start:end]
            left = list(range(end - start))
            for place, row in enumerate(wanted):
                nearest = min(left, key=lambda index: float((run[index] - row).norm()))
                left.remove(nearest)
                image[start + place] = run[nearest]
    return ordered


def _falling(column: Tensor) -> bool:
    """Whether it never rises and is not constant."""
    return bool((column.diff() <= 0).all()) and bool(column[0] > column[-1])


def _runs(scores: Tensor) -> Iterator[tuple[int, int]]:
    """Where runs of two and more tied scores start and end."""
    apart = scores.diff().abs() > TIED * scores[:-1].abs()
    ends = [*(torch.nonzero(apart).flatten() + 1).tolist(), len(scores)]
    for start, end in zip([0, *ends], ends, strict=False):
        if end - start > 1:
            yield start, end
