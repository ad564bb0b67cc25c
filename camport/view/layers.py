"""One method at many layers: the same image again and again, each time with another layer's map."""

from collections.abc import Mapping

import numpy as np
from PIL import Image

from camport.errors import InputError
from camport.view.colormaps import colormap_table
from camport.view.grid import Cell, grid
from camport.view.overlay import overlay
from camport.view.pictures import ImageLike, to_pixels
from camport.view.seen import Seen
from camport.view.text import text_width

CELL = 176
TEXT = 13
"""Size of the captions under cells of that size."""


def layer_grid(
    image: ImageLike,
    maps: Mapping[str, np.ndarray],
    *,
    captions: Mapping[str, str] | None = None,
    columns: int | None = None,
    title: str = "",
    colormap: str = "turbo",
    alpha: float = 0.6,
    cell: int = CELL,
    seen: Seen = None,
) -> Image.Image:
    """The image, then an overlay for each layer in the order given, each labelled, as one figure.

    Args:
        image: as `overlay` takes it.
        maps: heatmaps [H,W] in [0,1] of the image's size, by the layer's name.
        captions: more about a layer, e.g. the size of its maps, by its name.
        columns: of the figure; None makes it about as wide as high, but not fewer than all in a row
            of six.
        title: over the figure.
        colormap: one of COLORMAPS.
        alpha: weight of the colours where a map is hottest.
        cell: longer side of a picture in pixels.
        seen: what the network saw of the image, where it was cropped: `Placement.seen`.

    Raises:
        InputError: no map, or maps that `overlay` does not take.
        UnknownNameError: no such colormap.
    """
    colormap_table(colormap)
    if not maps:
        raise InputError("no map of any layer to show; give at least one")
    pixels = to_pixels(image)
    cells = [Cell(pixels, "image")]
    for name, heatmap in maps.items():
        more = (captions or {}).get(name, "")
        text = f"{_broken(name, cell)}\n{more}" if more else _broken(name, cell)
        drawn = overlay(pixels, heatmap, alpha=alpha, colormap=colormap)
        cells.append(Cell(drawn, text, seen=seen))
    width = columns or max(min(6, len(cells)), round(len(cells) ** 0.5))
    rows = [cells[i : i + width] for i in range(0, len(cells), width)]
    return grid(rows, title=title, colorbar=colormap, cell=cell)


def _broken(name: str, width: int) -> str:
    """A dotted name in lines that fit, broken behind its dots."""
    lines = [""]
    for part in name.replace(".", ".\n").split("\n"):
        if lines[-1] and text_width(lines[-1] + part, TEXT) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)
