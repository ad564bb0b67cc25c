"""Where on the image the places of a tensor lie: two coordinates for each of its values,
followed through functions.

A function that moves values about (flip, permute, crop, pad, view) is applied to the coordinates
themselves; one that computes (a convolution, a normalisation) leaves them, resampled where it has
another stride.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from camport.core.maps.token_grid import Grid, Turn

TOLERANCE = 0.03
"""Places that lie further from where a map has them, in sides of the image,
are not where it has them."""
STEP = 0.05
"""Nor those of a coarse map that lie further than this, or than half a step of the map."""
PATCH = 0.25
"""Places that are added up belong together where they are no further apart."""
SHARE = 0.9
"""So many of the places have to lie there: where a part was moved round an edge the others do."""
LARGEST = 1 << 24
"""Values of a tensor up to which coordinates are moved with them."""


@dataclass(frozen=True, eq=False)
class Places:
    """The coordinates of the values of a tensor, from 0 to 1 along each side of the image;
    NaN where no image is.

    Attributes:
        rows: along the image's height, of as many axes as the tensor, 1 long where they do not
            depend on it.
        columns: the same along its width.
    """

    rows: Tensor
    columns: Tensor

    @classmethod
    def of_map(cls, shape: Sequence[int]) -> Places:
        """Those of maps [b,c,h,w] that cover the image."""
        rows, columns = _centres(int(shape[2])), _centres(int(shape[3]))
        return cls(rows[None, None, :, None], columns[None, None, None])

    def like(self, other: Places) -> bool:
        """Whether both are the same."""
        pairs = ((self.rows, other.rows), (self.columns, other.columns))
        return all(
            a.shape == b.shape and torch.allclose(a, b, atol=1e-3, equal_nan=True) for a, b in pairs
        )

    def as_map(self, shape: Sequence[int]) -> bool:
        """Whether these are the places of maps [b,c,h,w] that cover the image."""
        return len(shape) == 4 and self.like(Places.of_map(shape))

    def moved(
        self, shape: Sequence[int], whole: bool, move: Callable[[Tensor], Any]
    ) -> list[Places]:
        """What a function that moves values does to those of a tensor of `shape`,
        for each of its results."""
        both = (self.rows, self.columns)
        rows, columns = (move(v if whole else v.expand(tuple(shape))) for v in both)
        pairs = (
            zip(rows, columns, strict=True) if isinstance(rows, list | tuple) else [(rows, columns)]
        )
        return [Places(_short(r), _short(c)) for r, c in pairs]

    def carried(
        self, before: Sequence[int], shape: Sequence[int], mixed: int | None
    ) -> Places | None:
        """Those of what a function computes of a tensor of shape `before`, of as many axes;
        None where they are lost.

        Args:
            before: shape of the tensor.
            shape: shape of the result.
            mixed: the axis whose values are added up, that of the channels of a convolution.

        Raises ValueError where that is not told.
        """
        if len(before) != len(shape):
            raise ValueError("axes are added or taken away")
        found = []
        for values in (self.rows, self.columns):
            for axis, (n, new) in enumerate(zip(values.shape, shape, strict=True)):
                if n == 1:
                    continue
                # the values of a patch lie close to each other, those of a whole axis do not
                if axis == mixed:
                    if spread(values, axis) > PATCH:
                        raise ValueError("places far from each other are added up")
                    values = values.nanmean(axis, keepdim=True)
                elif new == 1:
                    return None
                elif n != new:
                    values = _resampled(values, axis, int(new))
            found.append(values)
        return Places(*found)

    def padded(self, sides: Sequence[int], shape: Sequence[int]) -> Places:
        """Those of a tensor of `shape` with padding,
        `sides` as `torch.nn.functional.pad` takes them."""
        found = []
        for values in (self.rows, self.columns):
            for i in range(len(sides) // 2):
                axis = len(shape) - 1 - i
                if values.shape[axis] > 1:
                    pad = [0] * (2 * i) + [int(sides[2 * i]), int(sides[2 * i + 1])]
                    values = torch.nn.functional.pad(values, pad, value=torch.nan)
            found.append(values)
        return Places(*found)

    def within(self, reach: int) -> Places:
        """Those without padding of up to `reach` places at each end."""
        found = []
        for values in (self.rows, self.columns):
            axes = [axis for axis, n in enumerate(values.shape) if n > 1]
            known = (~values.isnan()).flatten().nonzero()[:, 0].tolist() if len(axes) == 1 else []
            if known and len(known) == known[-1] - known[0] + 1:
                before, behind = known[0], values.shape[axes[0]] - 1 - known[-1]
                if max(before, behind) <= reach:
                    values = values.narrow(axes[0], before, len(known))
            found.append(values)
        return Places(*found)

    def nearly(self, other: Places, shape: Sequence[int]) -> bool:
        """Whether they differ by no more than one step of a tensor of `shape`:
        an edge that is cut off or added."""
        for mine, theirs in ((self.rows, other.rows), (self.columns, other.columns)):
            if mine.shape != theirs.shape:
                return False
            # an axis may be in blocks, of which each is one of its own
            step = 1.01 / math.prod(n for n, m in zip(shape, mine.shape, strict=True) if m > 1)
            off = (mine - theirs).abs()
            if bool((off > step).any()):
                return False
        return True

    def turn(self, shape: Sequence[int], grid: Grid) -> Turn | None:
        """How maps that `grid` reads of a tensor of `shape` have to be turned to lie on the image;
        None: in no way."""
        both = self._read(shape, grid)
        if both is None:
            return None
        rows, columns = both
        for turn in TURNS:
            if all(_lies(turn.to_image(v), axis) for axis, v in enumerate((rows, columns))):
                return turn
        return None

    def flat(self, shape: Sequence[int], grid: Grid) -> bool:
        """Whether maps that `grid` reads have one coordinate for each row and one for each column,
        whichever."""
        both = self._read(shape, grid)
        if both is None:
            return False
        rows, columns = both
        return any(_alike(a, 3) and _alike(b, 2) for a, b in ((rows, columns), (columns, rows)))

    def _read(self, shape: Sequence[int], grid: Grid) -> tuple[Tensor, Tensor] | None:
        """Coordinates [1,1,h,w] of maps; None where they depend on the channel."""
        both = [grid.to_maps(v.expand(tuple(shape))).float() for v in (self.rows, self.columns)]
        # the places that a patch is merged of lie within one of its own
        widths = [max(TOLERANCE, 1 / max(v.shape[2:])) for v in both]
        if not all(
            _alike(v.flatten(0, 1), 0, width) for v, width in zip(both, widths, strict=True)
        ):
            return None
        rows, columns = (v.nanmean((0, 1), keepdim=True) for v in both)
        return rows, columns

    def stretched(self) -> Places:
        """Those that reach from one end of the image to the other,
        as what was cut out of it or padded would."""
        # tokens have both along one axis, on which no line leads on to what is missing
        apart = not any(
            r > 1 and c > 1 for r, c in zip(self.rows.shape, self.columns.shape, strict=True)
        )
        found = []
        for values in (self.rows, self.columns):
            for axis, n in enumerate(values.shape):
                values = _continued(values, axis) if apart and n > 1 else values
            known = values[~values.isnan()]
            if known.numel():
                low, high, half = (
                    known.min(),
                    known.max(),
                    0.5 / known.mul(1e4).round().unique().numel(),
                )
                values = half + (values - low) / (high - low).clamp_min(1e-6) * (1 - 2 * half)
            found.append(values)
        return Places(*found)

    def extent(self) -> str:
        """The part of the image they come from, in per cent."""
        sides = []
        for values in (self.rows, self.columns):
            known = values[~values.isnan()]
            low, high = (
                (100 * float(v) for v in (known.min(), known.max()))
                if known.numel()
                else (0.0, 0.0)
            )
            sides.append(f"{low:.0f} to {high:.0f} %")
        return f"{sides[0]} of its height and {sides[1]} of its width"


TURNS = tuple(Turn(t, r, c) for t in (False, True) for r in (False, True) for c in (False, True))


@cache
def _centres(n: int) -> Tensor:
    return (torch.arange(n, dtype=torch.float32) + 0.5) / n


def spread(values: Tensor, axis: int) -> float:
    """The largest distance between coordinates along an axis."""
    known = values.nan_to_num(0.5)
    return float((known.amax(axis) - known.amin(axis)).amax())


def _short(values: Tensor) -> Tensor:
    """Axes along which nothing changes, 1 long."""
    for axis in range(values.dim()):
        first = values.narrow(axis, 0, min(1, values.shape[axis]))
        if values.shape[axis] > 1 and bool(
            ((values == first) | (values.isnan() & first.isnan())).all()
        ):
            values = first
    return values.clone() if values._is_view() else values


def _resampled(values: Tensor, axis: int, n: int) -> Tensor:
    """Values at the centres of n steps along an axis,
    continued in a straight line where they end."""
    old = values.shape[axis]
    values = _continued(values, axis)
    at = (torch.arange(n, dtype=torch.float32) + 0.5) * old / n - 0.5
    low = at.floor().clamp(0, max(0, old - 2))
    share = (at - low).view([-1 if i == axis else 1 for i in range(values.dim())])
    low = low.long()
    return (
        values.index_select(axis, low) * (1 - share)
        + values.index_select(axis, (low + 1).clamp(max=old - 1)) * share
    )


def _continued(values: Tensor, axis: int) -> Tensor:
    """Values with what is missing along an axis filled in on a straight line."""
    known = ~values.isnan()
    if bool(known.all()):
        return values
    at = torch.arange(values.shape[axis], dtype=torch.float32)
    at = at.view([-1 if i == axis else 1 for i in range(values.dim())]).expand(values.shape)
    n = known.sum(axis, keepdim=True).clamp_min(1)
    middle = (at * known).sum(axis, keepdim=True) / n
    mean = values.nan_to_num().sum(axis, keepdim=True) / n
    off = (at - middle) * known
    slope = (off * (values.nan_to_num() - mean * known)).sum(axis, keepdim=True) / off.square().sum(
        axis, keepdim=True
    )
    return torch.where(known, values, mean + slope.nan_to_num() * (at - middle))


def _alike(values: Tensor, axis: int, width: float = TOLERANCE) -> bool:
    """Whether coordinates are the same along an axis, but for rounding."""
    return not bool(
        ((values - values.nanmean(axis, keepdim=True)).abs().nan_to_num() > width).any()
    )


def _lies(values: Tensor, axis: int) -> bool:
    """Whether coordinates [1,1,h,w] grow along `axis` of the maps as those of the image do."""
    centres = _centres(values.shape[2 + axis])
    off = (values - (centres[:, None] if axis == 0 else centres)).abs().flatten()
    off = off[~off.isnan()]
    # a grid of corners taken for one of centres moves the ends by half a step
    most = max(TOLERANCE, min(STEP, 0.51 / len(centres)))
    return off.numel() > 0 and bool((off <= most).float().mean() >= SHARE)


def distinct(found: Iterator[Places]) -> list[Places]:
    """Each of them once."""
    kept: list[Places] = []
    for places in found:
        if not any(places.like(other) for other in kept):
            kept.append(places)
    return kept
