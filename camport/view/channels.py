"""Feature maps side by side: what the channels of a layer respond to."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from camport.errors import InputError
from camport.view.colormaps import DIVERGING, apply_colormap, signed_to_unit
from camport.view.grid import Cell, grid
from camport.view.pictures import ImageLike

SHOWN = 62
"""Channels that are shown unless said otherwise; with the image and the mean they fill a square."""

CELL = 112


def channel_grid(
    maps: np.ndarray,
    image: ImageLike | None = None,
    *,
    channels: Sequence[int] | None = None,
    limit: int = SHOWN,
    columns: int | None = None,
    title: str = "",
    colormap: str = "viridis",
    cell: int = CELL,
) -> Image.Image:
    """The mean of feature maps and the maps themselves, as one labelled figure.

    Each map has the scale of its own largest magnitude, which stands under it with the channel's
    number; 0 is the colormap's cold end. Maps with negative values are drawn in a diverging
    colormap, whose middle is 0. A place is a square, as large as the layer's cells are.

    Args:
        maps: [c,h,w], the activations of one image at one layer, e.g.
            `explanation.activations[0][0]`.
        image: shown first, as `overlay` takes it.
        channels: the ones to show, in this order; None is those with the largest mean magnitude,
            strongest first.
        limit: how many of them.
        columns: of the figure; None makes it about square.
        title: over the figure; which channels are shown is said beneath it.
        colormap: for maps without negative values.
        cell: longer side of a map in pixels.

    Raises:
        InputError: not [c,h,w], values that are not finite, or a channel that does not exist.
        UnknownNameError: no such colormap.
    """
    array = np.asarray(maps)
    if array.ndim != 3 or 0 in array.shape or array.dtype.kind != "f":
        raise InputError(
            f"feature maps are {array.dtype} {list(array.shape)}; give those of one image, [c,h,w]"
        )
    if not np.isfinite(array).all():
        raise InputError(
            f"feature maps have {int((~np.isfinite(array)).sum())} values that are not finite"
        )
    if limit < 1 or (columns is not None and columns < 1):
        raise InputError(f"limit is {limit} and columns {columns}; give 1 or more")
    array = array.astype(np.float32)
    count = array.shape[0]
    if channels is None:
        strength = np.abs(array).mean((1, 2))
        shown = [int(k) for k in np.argsort(-strength, kind="stable")[:limit]]
        which = (
            f"all {count} channels"
            if len(shown) == count
            else f"the {len(shown)} strongest of {count} channels"
        )
    else:
        shown = [int(k) for k in channels]
        which = f"{len(shown)} of {count} channels"
    wrong = next((k for k in shown if not 0 <= k < count), None)
    if wrong is not None:
        raise InputError(f"channel {wrong} is out of range: there are {count} (0..{count - 1})")
    cells = [] if image is None else [Cell(image, "image")]
    cells += [Cell(*_drawn(array.mean(0), "mean", colormap))]
    cells += [Cell(*_drawn(array[k], f"channel {k}", colormap)) for k in shown]
    width = columns or max(1, round(len(cells) ** 0.5))
    rows = [cells[i : i + width] for i in range(0, len(cells), width)]
    return grid(rows, title=f"{title}: {which}" if title else which, cell=cell)


def _drawn(values: np.ndarray, name: str, colormap: str) -> tuple[np.ndarray, str]:
    """A map's colours and its label."""
    peak = float(np.abs(values).max())
    if peak == 0:
        return apply_colormap(np.zeros_like(values), colormap), f"{name}\nall 0"
    if values.min() < 0 or colormap in DIVERGING:
        return apply_colormap(signed_to_unit(values), "coolwarm"), f"{name}\n\u00b1{peak:.3g}"
    return apply_colormap(values / peak, colormap), f"{name}\n0 to {peak:.3g}"
