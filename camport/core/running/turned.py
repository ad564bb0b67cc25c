"""Layers behind a flip, a quarter turn or a transposition of the image: turned back,
or refused where nothing is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from torch import Tensor

from camport.core.maps.places import TURNS, Places
from camport.core.maps.token_grid import AS_IT_IS, Grid, Layout
from camport.core.running.following import Answer
from camport.core.running.origins import Origins
from camport.errors import LayerError

CONTEXT = 0.06
"""Places that differ by less, in sides of the image, are one place and its surroundings."""

CLEARLY = 0.25
"""A reading that is followed less along one of the axes is not believed where no function was seen
to turn anything."""

_REMEDY = (
    "choose a layer before, or one run of it that sees one picture (layer='NAME@0'), or explain the"
    " network inside on the picture as it sees it"
)


class ElsewhereError(LayerError):
    """A layer whose places the forward pass has moved,
    so that a map of it lies nowhere on the image."""


def turned(name: str, output: Tensor, likely: Sequence[Grid], origins: Origins) -> Grid | None:
    """The reading of a layer whose places are known and lie elsewhere than a map's;
    None where they are a map's.

    Args:
        name: of the layer.
        output: what it puts out.
        likely: readings of it, the likeliest first.
        origins: of which places it is made.

    Raises:
        LayerError: places that are no map's, however it is turned, or several at once.
    """
    shape = tuple(output.shape)
    found: dict[Grid, Places] = {}
    lost: list[Places] = []
    for places in origins.each(shape):
        grid = next(
            (g for candidate in wider(likely) if (g := _as(candidate, places, shape)) is not None),
            None,
        )
        if grid is None and (
            len(shape) == 4 or any(_flat(candidate, places, shape) for candidate in wider(likely))
        ):
            lost.append(places)
        elif grid is not None:
            found.setdefault(grid, places)
    lost = [places for places in lost if not any(_near(places, other) for other in found.values())]
    by = ", ".join(origins.by)
    if len(found) > 1:
        raise ElsewhereError(
            f"layer {name!r} puts out {shape}, made of the image and of the same image mirrored or"
            f" turned ({by} in the forward pass): each of its places lies on the image at several;"
            f" {_REMEDY}"
        )
    if lost:
        raise ElsewhereError(
            f"layer {name!r} puts out {shape}, whose places do not lie on the image as a map's:"
            f" {by} in the forward pass left those of {lost[0].extent()}, moved, cut out or padded;"
            f" {_REMEDY}"
        )
    grid = next(iter(found), None)
    return None if grid is None or (grid.turn == AS_IT_IS and grid in likely) else grid


def wider(likely: Sequence[Grid]) -> list[Grid]:
    """Readings with those of a transposed image, whose tokens have height and width exchanged."""
    grids = list(likely)
    for grid in likely:
        if grid.size is not None:
            grids.append(replace(grid, size=grid.size[::-1]))
    layouts: list[Layout] = ["nchw", "nhwc"]
    if any(grid.size is None for grid in likely):
        grids += [Grid(layout) for layout in layouts]
    return list(dict.fromkeys(grids))


def sought(
    likely: Sequence[Grid], ask: Callable[[Grid], Sequence[Answer]], ends: Callable[[Grid], bool]
) -> Grid | None:
    """The reading, turned or not, that the output follows along both axes;
    None where that tells nothing.

    Args:
        likely: readings, the likeliest first.
        ask: how the output follows the image along each axis, read so.
        ends: whether its outer quarters do.
    """
    if not likely:
        return None
    if not any(answer.contradicts for answer in ask(likely[0])):
        return likely[0]
    best, most = None, CLEARLY
    for grid in (replace(g, turn=turn) for g in wider(likely) for turn in TURNS):
        answers = ask(grid)
        local = min((answer.local for answer in answers), default=0.0)
        if answers and all(answer.follows for answer in answers) and local > most:
            best, most = grid, local
    return best if best is None or ends(best) else None


def _as(grid: Grid, places: Places, shape: tuple[int, ...]) -> Grid | None:
    grid = _beside(grid, places)
    try:
        turn = places.turn(shape, grid)
    except (RuntimeError, IndexError):  # a reading of another number of places
        return None
    return None if turn is None else replace(grid, turn=turn)


def _beside(grid: Grid, places: Places) -> Grid:
    """The reading with the tokens that lie nowhere on the image where they stand,
    before the others or behind them."""
    axis = {"tokens": 1, "signal": 2}.get(grid.layout)
    others = grid.prefix + grid.suffix
    if axis is None or not others or places.rows.dim() != 3 or places.rows.shape[axis] == 1:
        return grid
    known = (~places.rows.isnan()).movedim(axis, 0).flatten(1).any(1).nonzero().flatten()
    first, last = (int(known[0]), int(known[-1])) if len(known) else (0, -1)
    behind = places.rows.shape[axis] - 1 - last
    return replace(grid, prefix=first, suffix=behind) if first + behind == others else grid


def _flat(grid: Grid, places: Places, shape: tuple[int, ...]) -> bool:
    grid = _beside(grid, places)
    try:
        return places.flat(shape, grid)
    except (RuntimeError, IndexError):
        return False


def _near(places: Places, other: Places) -> bool:
    pairs = ((places.rows, other.rows), (places.columns, other.columns))
    offs = [(mine - theirs).abs().flatten() for mine, theirs in pairs]
    return all(bool((off[~off.isnan()] <= CONTEXT).float().mean() >= 0.8) for off in offs)
