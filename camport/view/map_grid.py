"""Maps of images, methods and targets as one picture."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

from camport.view.grid import Cell, grid
from camport.view.overlay import overlay
from camport.view.shown import Shown, columns


def map_grid(
    images: Sequence[Shown],
    *,
    title: str = "",
    colormap: str = "turbo",
    alpha: float = 0.6,
    cell: int | None = 240,
) -> Image.Image:
    """The same as one picture: a row for each image and target, the image first,
    then a column for each method.

    Args:
        images: with their maps.
        title: over the figure.
        colormap: as `overlay` has it, as is `alpha`.
        cell: longer side of a picture in pixels.

    Raises:
        InputError: no image, or as `overlay`.
    """
    methods = columns(images)
    rows, labels = [], []
    for shown in images:
        for target in dict.fromkeys(m.target for m in shown.maps):
            row = [Cell(shown.image)]
            for method in methods:
                found = next(
                    (m for m in shown.maps if (m.method, m.target) == (method, target)), None
                )
                if found is None:
                    row.append(Cell())
                    continue
                drawn = overlay(shown.image, found.heatmap, colormap=colormap, alpha=alpha)
                row.append(Cell(drawn, found.caption, found.marks, shown.seen))
            rows.append(row)
            labels.append(", ".join(part for part in (shown.title, target) if part))
    return grid(
        rows,
        title=title,
        columns=["image", *methods],
        row_labels=labels if any(labels) else (),
        colorbar=colormap,
        cell=cell,
    )
