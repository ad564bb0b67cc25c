"""Maps of images, methods and targets: a picture; and a report,
one HTML file with a slider between image and map.

The file holds its pictures, its style and its script, and asks no address: it can be sent and
opened anywhere.
"""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template

import numpy as np
from PIL import Image

from camport.errors import InputError
from camport.files import write_text
from camport.view.boxes import Box, draw_boxes
from camport.view.colormaps import apply_colormap, colormap_table
from camport.view.grid import Cell, grid
from camport.view.overlay import overlay
from camport.view.pictures import ImageLike, to_pixels, to_unit_map

SIDE = 240
"""Longer side of a picture as it is first seen; it is stored at up to twice that."""


@dataclass(frozen=True)
class Map:
    """One map of an image.

    Args:
        heatmap: [H,W] in [0,1], of the image's size.
        method: the column it stands in.
        target: the row it stands in, e.g. the class that was asked about.
        caption: under it, e.g. the score.
        marks: boxes drawn on it, in the image's pixels.
    """

    heatmap: np.ndarray
    method: str = ""
    target: str = ""
    caption: str = ""
    marks: Sequence[Box] = ()


@dataclass(frozen=True)
class Shown:
    """An image with its maps.

    Args:
        image: as `overlay` takes it.
        maps: in any number; each method is a column and each target a row, in the order in which
            they first come.
        title: over the image.
    """

    image: ImageLike
    maps: Sequence[Map]
    title: str = ""


def save_report(
    path: str | os.PathLike[str],
    images: Sequence[Shown],
    *,
    title: str = "camport",
    colormap: str = "turbo",
) -> Path:
    """Writes the report.

    Args:
        path: an .html file.
        images: with their maps.
        title: of the page.
        colormap: as `overlay` has it.

    Raises:
        InputError: no image, an image without maps, two maps of one method and target, or of
            another size than the image.
        OutputError: the file cannot be written; nothing half-written is left.
    """
    colormap_table(colormap)
    if not images:
        raise InputError("a report of no image; give at least one")
    methods = list(dict.fromkeys(m.method for shown in images for m in shown.maps))
    page = _Page((Path(__file__).parent / "report.html").read_text(encoding="utf-8")).substitute(
        title=escape(title),
        side=SIDE,
        choices=_choices(methods),
        images="\n".join(_section(shown, colormap) for shown in images),
    )
    return write_text(Path(path), page)


def map_grid(
    images: Sequence[Shown], *, colormap: str = "turbo", alpha: float = 0.6, cell: int | None = 240
) -> Image.Image:
    """The same as one picture: a row for each image and target, the image first,
    then a column for each method.

    Args:
        images: with their maps.
        colormap: as `overlay` has it, as is `alpha`.
        cell: longer side of a picture in pixels.

    Raises:
        InputError: no image, or as `overlay`.
    """
    methods = list(dict.fromkeys(m.method for shown in images for m in shown.maps))
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
                row.append(Cell(drawn, found.caption, found.marks))
            rows.append(row)
            labels.append(", ".join(part for part in (shown.title, target) if part))
    columns = ["image", *methods]
    return grid(
        rows,
        columns=columns,
        row_labels=labels if any(labels) else (),
        colorbar=colormap,
        cell=cell,
    )


class _Page(Template):
    """@name@ is replaced; the page's own $, as its script has them, are not."""

    pattern = r"@(?:(?P<named>[a-z]+)@|(?P<braced>(?!))|(?P<escaped>(?!))|(?P<invalid>(?!)))"  # type: ignore[assignment]


def _choices(methods: Sequence[str]) -> str:
    """A box to tick for each method, where there are several."""
    if len(methods) < 2:
        return ""
    boxes = (
        f'<label><input type="checkbox" checked value="{i}"> {escape(method)}</label>'
        for i, method in enumerate(methods)
    )
    return "".join(boxes)


def _section(shown: Shown, colormap: str) -> str:
    """One image: a table of methods and targets, the image itself first."""
    if not shown.maps:
        raise InputError(f"image {shown.title!r} has no map; give at least one")
    pixels = to_pixels(shown.image)
    picture = _embedded(Image.fromarray(pixels))
    methods = list(dict.fromkeys(m.method for m in shown.maps))
    targets = list(dict.fromkeys(m.target for m in shown.maps))
    cells = {(m.target, m.method): m for m in shown.maps}
    if len(cells) < len(shown.maps):
        raise InputError(
            f"image {shown.title!r} has two maps of one method and one target; tell them apart by"
            " name"
        )
    head = "".join(
        f'<th scope="col" data-method="{i}">{escape(method)}</th>'
        for i, method in enumerate(methods)
    )
    rows = []
    for target in targets:
        columns = []
        for i, method in enumerate(methods):
            found = cells.get((target, method))
            cell = "" if found is None else _figure(found, pixels.shape[:2], colormap)
            columns.append(f'<td data-method="{i}">{cell}</td>')
        rows.append(f'<tr><th scope="row">{escape(target)}</th>{"".join(columns)}</tr>')
    heading = f"<h2>{escape(shown.title)}</h2>" if shown.title else ""
    table = f"<table><thead><tr><th></th>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    # each picture is there once, however many maps lie on it
    return (
        f'<section style="--picture: url({picture})">{heading}<div'
        f' class="wide">{table}</div></section>'
    )


def _figure(found: Map, size: tuple[int, ...], colormap: str) -> str:
    heat = to_unit_map(found.heatmap)
    if heat.shape != size:
        raise InputError(
            f"the map of {found.method or 'a method'} is {list(heat.shape)}, the image {list(size)}"
            " (height, width)"
        )
    what = escape(
        ", ".join(part for part in (found.method, found.target, found.caption) if part) or "map"
    )
    coloured = Image.fromarray(apply_colormap(heat, colormap))
    draw_boxes(coloured, found.marks)
    return (
        f'<figure><button class="view" type="button" aria-label="{what}">'
        f'<img src="{_embedded(coloured)}"'
        f' alt="{what}"></button><figcaption>{escape(found.caption)}</figcaption></figure>'
    )


def _embedded(picture: Image.Image) -> str:
    """A picture as the text of an address, at most twice the side that is shown."""
    picture = picture.copy()
    picture.thumbnail((2 * SIDE, 2 * SIDE))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
