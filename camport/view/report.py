"""Maps of images, methods and targets as a report: one HTML file with a slider between image and
map.

The file holds its pictures, its style and its script, and asks no address: it can be sent and
opened anywhere.
"""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Sequence
from html import escape
from pathlib import Path
from string import Template

import numpy as np
from PIL import Image, ImageColor

from camport.errors import InputError
from camport.files import write_text
from camport.view.boxes import Box
from camport.view.colormaps import DIVERGING, apply_colormap, colormap_table, ends
from camport.view.overlay import FADE
from camport.view.pictures import to_pixels, to_unit_map
from camport.view.seen import Seen, note
from camport.view.shown import Map, Shown, columns

STORED = 640
"""Longer side that pictures and maps are stored at, at most."""
STOPS = 17
"""Colours of the scale; the browser fills what lies between."""


def save_report(
    path: str | os.PathLike[str],
    images: Sequence[Shown],
    *,
    title: str = "camport",
    colormap: str = "turbo",
    alpha: float = 0.6,
) -> Path:
    """Writes the report.

    Colours are laid over the image as `overlay` does, so that cold places, and those that the
    network never saw, show the image itself.

    Args:
        path: an .html file.
        images: with their maps.
        title: of the page.
        colormap: as `overlay` has it.
        alpha: where the slider stands at first: 0 is the image, 1 has the hottest places opaque.

    Raises:
        InputError: no image, an image without maps, two maps of one method and target, a map of
            another size than the image, or alpha outside [0,1].
        OutputError: the file cannot be written; nothing half-written is left.
    """
    table = colormap_table(colormap)
    if not images:
        raise InputError("a report of no image; give at least one")
    if not 0 <= alpha <= 1:
        raise InputError(f"alpha is {alpha}; give 0 to 1")
    methods = columns(images)
    low, high = ends(colormap)
    stops = table[np.linspace(0, len(table) - 1, STOPS).round().astype(int)]
    page = _Page((Path(__file__).parent / "report.html").read_text(encoding="utf-8")).substitute(
        title=escape(title),
        alpha=f"{alpha:g}",
        fade=1 if colormap in DIVERGING else FADE,
        count=len(methods),
        kind="one" if len(methods) == 1 else "several",
        label="9rem" if any(m.target for shown in images for m in shown.maps) else "0rem",
        low=low,
        high=high,
        colours=", ".join("#" + bytes(stop).hex() for stop in stops),
        choices=_choices(methods),
        note=f"<p>{note_}</p>" if (note_ := note(shown.seen for shown in images)) else "",
        images="\n".join(_section(shown, methods, colormap) for shown in images),
    )
    return write_text(Path(path), page)


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


def _section(shown: Shown, methods: Sequence[str], colormap: str) -> str:
    """One image: a table of methods and targets, whose columns are those of all images."""
    if not shown.maps:
        raise InputError(f"image {shown.title!r} has no map; give at least one")
    pixels = to_pixels(shown.image)
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
        row = []
        for i, method in enumerate(methods):
            found = cells.get((target, method))
            cell = "" if found is None else _figure(found, pixels.shape[:2], shown.seen, colormap)
            # where methods stand one under the other each cell says its own
            row.append(f'<td data-method="{i}" data-name="{escape(method)}">{cell}</td>')
        rows.append(f'<tr><th scope="row">{escape(target)}</th>{"".join(row)}</tr>')
    heading = f"<h2>{escape(shown.title)}</h2>" if shown.title else ""
    table = f"<table><thead><tr><td></td>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    ratio = pixels.shape[1] / pixels.shape[0]
    # each picture is there once, however many maps lie on it
    return (
        f'<section style="--ratio: {ratio:.4f}; --picture: url({_picture(pixels)})">{heading}<div'
        f' class="wide">{table}</div></section>'
    )


def _figure(found: Map, size: tuple[int, ...], seen: Seen, colormap: str) -> str:
    heat = to_unit_map(found.heatmap)
    if heat.shape != size:
        raise InputError(
            f"the map of {found.method or 'a method'} is {list(heat.shape)}, the image {list(size)}"
            " (height, width)"
        )
    what = escape(
        ", ".join(part for part in (found.method, found.target, found.caption) if part) or "map"
    )
    framed = "" if seen is None else f'<i class="seen" style="{_place(seen, size)}"></i>'
    marks = "".join(_mark(box, size) for box in found.marks)
    return (
        f'<figure><button class="view" type="button" aria-label="{what}">'
        f'<img src="{_coloured(heat, colormap)}"'
        f' alt="{what}">{framed}{marks}</button><figcaption>{escape(found.caption)}</figcaption>'
        "</figure>"
    )


def _mark(box: Box, size: tuple[int, ...]) -> str:
    colour = "#" + bytes(ImageColor.getrgb(box.colour)[:3]).hex()
    label = f"<b>{escape(box.label)}</b>" if box.label else ""
    return f'<i class="mark" style="--colour: {colour}; {_place(box.xyxy, size)}">{label}</i>'


def _place(xyxy: tuple[float, float, float, float], size: tuple[int, ...]) -> str:
    """Corners in the image's pixels as a place in a picture of any size."""
    height, width = size
    left, right = (100 * min(max(x, 0), width) / width for x in xyxy[::2])
    top, bottom = (100 * min(max(y, 0), height) / height for y in xyxy[1::2])
    return (
        f"left: {left:.2f}%; top: {top:.2f}%; width: {right - left:.2f}%;"
        f" height: {bottom - top:.2f}%"
    )


def _picture(pixels: np.ndarray) -> str:
    """The image as the text of an address."""
    picture = Image.fromarray(pixels)
    picture.thumbnail((STORED, STORED))
    return _embedded(picture, "jpeg", quality=88)


def _coloured(heat: np.ndarray, colormap: str) -> str:
    """The map as the text of an address: its colours, the colder the more transparent."""
    drawn = Image.fromarray(heat)
    drawn.thumbnail((STORED, STORED), Image.Resampling.BILINEAR)
    heats = np.asarray(drawn)
    # one byte a pixel, in even steps of overlay's weight, the root of the heat; the file's palette
    # has the colour of each
    if colormap in DIVERGING:
        signed = 2 * heats - 1
        levels = 128 + np.rint(127 * np.sign(signed) * np.sqrt(np.abs(signed)))
        weights = np.clip((np.arange(256) - 128) / 127, -1, 1)
        stands_for = (weights * np.abs(weights) + 1) / 2
    else:
        levels = np.rint(255 * np.sqrt(heats))
        weights = np.arange(256) / 255
        stands_for = weights**2
    indexed = Image.frombytes("P", drawn.size, levels.astype(np.uint8).tobytes())
    indexed.putpalette(apply_colormap(stands_for[None], colormap).tobytes())
    opacity = np.rint(255 * np.abs(weights)).astype(np.uint8)
    return _embedded(indexed, "png", transparency=opacity.tobytes(), optimize=True)


def _embedded(picture: Image.Image, kind: str, **options: object) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return f"data:image/{kind};base64," + base64.b64encode(buffer.getvalue()).decode()
