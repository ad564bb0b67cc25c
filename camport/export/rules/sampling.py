"""Gradients of `grid_sample`, bilinear and nearest, two spatial axes.

Output o reads the input at the place u(o), in pixels: y[o] = Σ w(u(o), i) x[i] over the corners i
around u. So x̄[i] = Σ w(u(o), i) ḡ[o], a scatter, and ū(o) = Σ ∂w/∂u x[i] ḡ[o], a gather. A corner
outside counts as zero.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from camport.export.rules.registry import lowers

BILINEAR, NEAREST, BICUBIC = 0, 1, 2
ZEROS, BORDER, REFLECTION = 0, 1, 2


class Axis(NamedTuple):
    """Where each output reads along one axis.

    Attributes:
        place: u in pixels, after padding's rule.
        slope: ∂u/∂(grid coordinate), 0 where padding holds u.
        low: ⌊u⌋, or the nearest pixel.
        length: how many pixels there are.
    """

    place: Tensor
    slope: Tensor
    low: Tensor
    length: Any


@lowers("grid_sampler_2d_backward.default", unless=lambda *args: args[3] == BICUBIC)
def grid_sample_backward(
    g: Tensor,
    x: Tensor,
    grid: Tensor,
    interpolation: int,
    padding: int,
    align: bool,
    mask: Sequence[bool],
) -> Any:
    """Gradients with respect to x [b,c,h,w] and the grid [b,H,W,2],
    whose last axis is (horizontal, vertical)."""
    (height, width), nearest = x.shape[2:], interpolation == NEAREST
    across = _axis(grid[..., 0], width, padding, align, nearest)
    down = _axis(grid[..., 1], height, padding, align, nearest)
    flat = g.reshape(*g.shape[:2], -1)
    by_input = torch.zeros_like(x).reshape(*x.shape[:2], -1) if mask[0] else None
    by_across, by_down = torch.zeros_like(across.place), torch.zeros_like(down.place)
    for index, inside, (wx, sx), (wy, sy) in _corners(across, down, nearest):
        spread = index.reshape(index.shape[0], 1, -1).expand(flat.shape)
        if by_input is not None:
            weight = (wx * wy * inside).reshape(index.shape[0], 1, -1)
            by_input = by_input.scatter_add(2, spread, flat * weight)
        if mask[1] and not nearest:
            pixels = x.reshape(*x.shape[:2], -1).gather(2, spread)
            seen = (pixels * flat).sum(1).reshape(index.shape) * inside
            by_across = by_across + seen * sx * wy
            by_down = by_down + seen * wx * sy
    by_grid = torch.stack([by_across * across.slope, by_down * down.slope], -1) if mask[1] else None
    return None if by_input is None else by_input.reshape(x.shape), by_grid


def _corners(across: Axis, down: Axis, nearest: bool) -> Iterator[tuple[Tensor, Tensor, Any, Any]]:
    """For each corner: its place in the flattened input, whether it is inside,
    and weight and slope along each axis."""
    ends = (0,) if nearest else (0, 1)
    for dy in ends:
        for dx in ends:
            column, row = across.low + dx, down.low + dy
            inside = _inside(column, across.length) * _inside(row, down.length)
            index = _held(row, down.length) * across.length + _held(column, across.length)
            yield (
                index.to(torch.int64),
                inside,
                _weight(across, dx, nearest),
                _weight(down, dy, nearest),
            )


def _weight(axis: Axis, end: int, nearest: bool) -> tuple[Any, Any]:
    """w and ∂w/∂u of one corner: 1 - t and -1 on the low side, t and 1 on the high side,
    t = u - ⌊u⌋."""
    if nearest:
        return 1.0, 0.0
    t = axis.place - axis.low
    return (t, 1.0) if end else (1 - t, -1.0)


def _inside(place: Tensor, length: Any) -> Tensor:
    return torch.logical_and(place >= 0, place < length).to(place.dtype)


def _held(place: Tensor, length: Any) -> Tensor:
    return torch.minimum(torch.clamp(place, min=0), torch.zeros_like(place) + (length - 1))


def _axis(coordinate: Tensor, length: Any, padding: int, align: bool, nearest: bool) -> Axis:
    """From coordinates in [-1, 1] to pixels: the ends are the centres of the outer pixels,
    or their outer edges."""
    if align:
        factor = (length - 1) / 2
        place = (coordinate + 1) * factor
    else:
        factor = length / 2
        place = (coordinate + 1) * factor - 0.5
    slope = torch.zeros_like(place) + factor
    if padding == REFLECTION:
        low, span = (0.0, length - 1) if align else (-0.5, length)
        away = (place - low).abs()
        turns = torch.floor(away / span)
        odd = turns - 2 * torch.floor(turns / 2)
        rest = away - turns * span
        slope = slope * torch.where(place < low, -1.0, 1.0).to(place.dtype) * (1 - 2 * odd)
        place = low + rest + odd * (span - 2 * rest)
    if padding != ZEROS:
        last = torch.zeros_like(place) + (length - 1)
        slope = slope * torch.logical_and(place > 0, place < last).to(place.dtype)
        place = torch.minimum(torch.clamp(place, min=0), last)
    return Axis(place, slope, torch.round(place) if nearest else torch.floor(place), length)
