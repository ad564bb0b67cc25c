"""A caption as papers show it: the image once for every word, what the word is about in colour,
the word under it."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from camport.errors import InputError
from camport.view.grid import Cell, grid
from camport.view.overlay import overlay
from camport.view.pictures import ImageLike
from camport.view.seen import Seen


def word_grid(
    image: ImageLike,
    words: Sequence[str],
    heatmaps: Sequence[np.ndarray],
    *,
    title: str = "",
    columns: int = 5,
    alpha: float = 0.6,
    colormap: str = "turbo",
    cell: int | None = None,
    seen: Seen = None,
) -> Image.Image:
    """The image, then the image under each word's heatmap, in reading order, as one RGB figure.

    Args:
        image: as `overlay` takes it.
        words: what stands under each map.
        heatmaps: [H,W] in [0,1] for each word, of the image's size.
        title: over the figure.
        columns: pictures in a row.
        alpha: as `overlay`.
        colormap: as `overlay`.
        cell: the longer side of a picture in pixels; as `grid` chooses where None.
        seen: what the network saw of the image, where it was cropped: `Placement.seen`.

    Raises:
        InputError: another number of heatmaps than words, no words, or no column.
    """
    if len(words) != len(heatmaps) or not len(words):
        raise InputError(f"{len(heatmaps)} heatmaps for {len(words)} words; give one a word")
    if columns < 1:
        raise InputError(f"columns is {columns}; a row has one picture or more")
    cells = [Cell(image, "image")]
    for word, heatmap in zip(words, heatmaps, strict=True):
        drawn = overlay(image, heatmap, alpha=alpha, colormap=colormap)
        cells.append(Cell(drawn, word, seen=seen))
    rows = [cells[i : i + columns] for i in range(0, len(cells), columns)]
    return grid(rows, title=title, colorbar=colormap, cell=cell)
