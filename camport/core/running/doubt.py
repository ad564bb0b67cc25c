"""A layer of which shape and model leave open how it lies on the image: told by how its output
follows the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from camport.core.maps.token_grid import REMEDY, Grid, check_rows
from camport.core.running.following import Answer, Following
from camport.core.running.layers import LayerName
from camport.core.running.turned import sought
from camport.errors import LayerError, ModelError

CLEARLY = 0.25
"""A likely reading that is followed so well is not compared with others."""


@dataclass
class Doubt:
    """A layer whose reading is to be compared with how it follows the image.

    Attributes:
        place: among the layers.
        likely: readings that shape and model speak for, the likeliest first; adapters give one of
            their own.
        unlikely: readings that are believed only where the output follows the image.
        error: what is to be said where there is no likely reading and none is followed.
        moved: its places were moved in the forward pass, it was not seen where to.
    """

    place: int
    likely: list[Grid]
    unlikely: list[Grid]
    error: LayerError | None
    moved: bool = False


def compared(following: Following, name: LayerName, doubt: Doubt, output: Tensor) -> Grid:
    """The reading that the output follows; where it tells nothing, as the nearest layer does that
    tells it, or the likeliest.
    """
    try:
        alone = following.output(name, (int(following.image.shape[3] > 1), 0))
    except ModelError:
        alone = output[:0]
    if output.shape[0] == output.shape[1] > 1 == alone.shape[1]:
        check_rows(str(name), alone, 1)  # as many images as tokens, and the tokens are first
    if alone.shape != output[:1].shape:  # the model takes no single image, so nothing can be told
        if doubt.error is not None:
            raise doubt.error
        return doubt.likely[0]
    if doubt.moved and output.dim() == 4:
        grid = sought(
            doubt.likely,
            lambda grid: following.both(name, grid),
            lambda grid: following.ends(name, grid),
        )
        if grid is not None:
            return grid
    grids = [*doubt.likely, *doubt.unlikely]
    rows = [grid for grid in grids if grid.layout == "signal"]
    if not any(following.answer(name, grid).follows for grid in rows):
        _check_joined(following, name, grids, output)
    answers = [following.answer(name, grid) for grid in doubt.likely]
    best, local = _first(
        doubt.likely, [answer.local if answer.follows else 0.0 for answer in answers]
    )
    if local >= CLEARLY:
        assert best is not None
        return best
    answers += [following.answer(name, grid) for grid in doubt.unlikely]
    best = _best(doubt, answers)
    if best is None and not _contradicted(doubt, answers):
        told = following.nearest(
            name,
            output[:1].shape,
            grids,
            lambda a: _contradicted(doubt, a) or _best(doubt, a) is not None,
        )
        answers = told or answers
        best = _best(doubt, answers)
    if best is not None:
        return best
    if doubt.error is not None:
        raise doubt.error
    if not _contradicted(doubt, answers):
        return doubt.likely[0]
    raise LayerError(
        f"layer {str(name)!r} puts out {tuple(output.shape)}, whose places do not lie on the image"
        " as a map's: one half of them does not answer to that half of the image. Tokens in the"
        " order of windows or units (Hiera, NesT), queries and attention's matrices are such;"
        f" {REMEDY}"
    )


def _check_joined(
    following: Following, name: LayerName, grids: Sequence[Grid], output: Tensor
) -> None:
    """LayerError where more tokens than a reading leaves out are moved by no part of the image:
    those of a text."""
    if output.dim() != 3:
        return
    n = output.shape[1]
    still = len(following.still(n))
    if still > max(grid.prefix + grid.suffix for grid in grids):
        raise LayerError(
            f"layer {str(name)!r} puts out {n} tokens, and the image moves {n - still} of them"
            f" alone: the others are a text's or queries in the same row; {REMEDY}"
        )


def placed(following: Following, grid: Grid, what: str) -> Grid:
    """The reading with class and register tokens where they stand, before the image's or behind
    them."""
    if grid.layout != "tokens" or grid.size is None or not grid.prefix or grid.suffix:
        return grid
    n = grid.prefix + grid.size[0] * grid.size[1]
    still = following.still(n)
    if len(still) != grid.prefix:
        return grid
    before = next((i for i, place in enumerate(still) if place != i), len(still))
    if still[before:] != list(range(n - len(still) + before, n)):
        raise LayerError(
            f"{what} has {n} tokens, and those that lie nowhere on the image, which it does not"
            f" move, stand among the others, at {still}; {REMEDY}"
        )
    return replace(grid, prefix=before, suffix=len(still) - before)


def _contradicted(doubt: Doubt, answers: Sequence[Answer]) -> bool:
    """Whether the output answers to the image otherwise than the likely readings say, or else than
    all."""
    return all(answer.contradicts for answer in answers[: len(doubt.likely)] or answers)


def _best(doubt: Doubt, answers: Sequence[Answer]) -> Grid | None:
    """The reading that is followed best; an unlikely one only where it is followed far better."""
    likely, unlikely = answers[: len(doubt.likely)], answers[len(doubt.likely) :]
    first = _first(doubt.likely, [answer.local if answer.follows else 0.0 for answer in likely])
    share, least = (0.5, 0.05) if likely and _contradicted(doubt, answers) else (0.6, 0.3)
    strong = [
        answer.local if answer.local >= max(share * answer.moved, least) else 0.0
        for answer in unlikely
    ]
    other = _first(doubt.unlikely, strong)
    return first[0] if first[1] >= other[1] / 2 else other[0]


def _first(grids: Sequence[Grid], local: Sequence[float]) -> tuple[Grid | None, float]:
    """The first of the grids that are followed nearly as well as any, and how well."""
    best = max(local, default=0.0)
    pairs = zip(grids, local, strict=True)
    return next(
        ((grid, value) for grid, value in pairs if value > 0 and value >= 0.7 * best), (None, 0.0)
    )
