"""Figures for comparison: rows and columns of pictures with a title, heads, labels and captions."""

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from camport.errors import InputError
from camport.view.boxes import Box, draw_boxes
from camport.view.colormaps import colormap_table, ends
from camport.view.pictures import ImageLike, to_pixels
from camport.view.seen import Seen, frame, note
from camport.view.text import font, line_height, text_width, wrap

GAP, MARGIN, INK, PAPER = 10, 16, "#1a1a1a", "white"
SMALLEST, LARGEST = 256, 640
BAR = 14


@dataclass(frozen=True)
class Cell:
    """One picture of a figure.

    Args:
        image: as `overlay` takes it; None leaves the place empty.
        caption: text under it.
        boxes: drawn on it, in the image's own pixels.
        seen: what the network saw of it, likewise, where it was cropped (`Placement.seen`): framed,
            and a line under the figure says so.
    """

    image: ImageLike | None = None
    caption: str = ""
    boxes: Sequence[Box] = ()
    seen: Seen = None


def grid(
    rows: Sequence[Sequence[Cell | ImageLike | None]],
    *,
    title: str = "",
    columns: Sequence[str] = (),
    row_labels: Sequence[str] = (),
    colorbar: str | None = None,
    cell: int | None = None,
    text: int | None = None,
) -> Image.Image:
    """Rows of pictures as one RGB figure.

    Every picture is brought to the same cell, keeping its proportions: cells are as large as the
    largest picture, but 256 to 640 pixels on their longer side. Few pixels are enlarged by a whole
    factor as squares when they are fewer than 64, so that one sees what the network saw,
    and smoothly otherwise.

    Args:
        rows: the pictures; rows may be of different length, None leaves a place empty.
        title: over the figure.
        columns: heads of the columns.
        row_labels: to the left of the rows.
        colorbar: a colormap's name draws its scale below, from cold (0) to hot (1).
        cell: the longer side of a cell in pixels, instead of the rule above.
        text: size of labels and captions in pixels; None: an 18th of the cell's, but at least 13.

    Raises:
        InputError: no picture at all, more heads or labels than columns or rows, or something that
            is no picture.
        UnknownNameError: no such colormap.
    """
    cells = [[c if isinstance(c, Cell) else Cell(c) for c in row] for row in rows]
    pictures = [
        [None if c.image is None else Image.fromarray(to_pixels(c.image)) for c in row]
        for row in cells
    ]
    sizes = [picture.size for row in pictures for picture in row if picture is not None]
    count = max((len(row) for row in cells), default=0)
    if not sizes:
        raise InputError(f"a figure of {len(cells)} rows and no picture; give at least one")
    for given, name, limit in ((columns, "columns", count), (row_labels, "row_labels", len(cells))):
        if given and len(given) != limit:
            raise InputError(f"{name} has {len(given)} texts for {limit}: {list(given)[:6]}")
    if cell is not None and not 16 <= cell <= 4096:
        raise InputError(f"cell is {cell}; give 16 to 4096 pixels")
    side = cell or min(max(SMALLEST, *(max(size) for size in sizes)), LARGEST)
    width = max(round(side * w / max(w, h)) for w, h in sizes)
    height = max(round(side * h / max(w, h)) for w, h in sizes)
    if text is not None and not 6 <= text <= side:
        raise InputError(f"text is {text}; give 6 to {side} pixels, the side of a cell")
    size = text or max(13, side // 18)

    label_width = min(max((text_width(t, size) for t in row_labels), default=0), side) + (
        GAP if row_labels else 0
    )
    heads = [wrap(text, size, width, 2) for text in columns]
    captions = [[wrap(c.caption, size - 1, width) for c in row] for row in cells]
    total_width = MARGIN * 2 + label_width + count * (width + GAP) - GAP
    title_lines = wrap(title, size + 6, total_width - 2 * MARGIN, 2)

    top = MARGIN + len(title_lines) * line_height(size + 6) + (GAP if title else 0)
    heads_at = top
    top += max((len(head) for head in heads), default=0) * line_height(size) + (
        GAP // 2 if heads else 0
    )
    starts = []
    for texts in captions:
        starts.append(top)
        top += (
            height + GAP + max((len(lines) for lines in texts), default=0) * line_height(size - 1)
        )
    bar_at = top
    top += max(BAR, line_height(size - 1)) + GAP if colorbar else 0
    note_at = top
    noted = wrap(note(c.seen for row in cells for c in row), size - 1, total_width - 2 * MARGIN)
    top += len(noted) * line_height(size - 1) + GAP if noted else 0

    figure = Image.new("RGB", (total_width, top - GAP + MARGIN), PAPER)
    draw = ImageDraw.Draw(figure)
    _lines(draw, title_lines, total_width / 2, MARGIN, size + 6)
    for j, head in enumerate(heads):
        _lines(draw, head, MARGIN + label_width + j * (width + GAP) + width / 2, heads_at, size)
    for i, (row, y) in enumerate(zip(cells, starts, strict=True)):
        if row_labels:
            label = wrap(row_labels[i], size, label_width - GAP, 6)
            middle = y + (height - len(label) * line_height(size)) / 2
            _lines(draw, label, MARGIN + (label_width - GAP) / 2, middle, size)
        for j, content in enumerate(row):
            x = MARGIN + label_width + j * (width + GAP)
            picture = pictures[i][j]
            if picture is None:
                continue
            placed = enlarge(picture, width, height)
            scale = (placed.width / picture.width, placed.height / picture.height)
            draw_boxes(placed, [*frame(content.seen), *content.boxes], scale, size - 1)
            figure.paste(
                placed, (x + (width - placed.width) // 2, y + (height - placed.height) // 2)
            )
            _lines(draw, captions[i][j], x + width / 2, y + height + 3, size - 1)
    if colorbar:
        _scale(figure, colorbar, MARGIN + label_width, bar_at, total_width - MARGIN, size - 1)
    for i, line in enumerate(noted):
        place = (MARGIN, note_at + i * line_height(size - 1))
        draw.text(place, line, fill=INK, font=font(size - 1))
    return figure


def enlarge(picture: Image.Image, width: int, height: int) -> Image.Image:
    """The picture as large as fits in width x height; pixels of tiny ones stay squares."""
    factor = min(width / picture.width, height / picture.height)
    target = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
    if target == picture.size:
        return picture.copy()
    if max(picture.size) < 64 and factor > 1:
        return picture.resize(target, Image.Resampling.NEAREST)
    return picture.resize(
        target, Image.Resampling.BICUBIC if factor > 1 else Image.Resampling.LANCZOS
    )


def _lines(draw: ImageDraw.ImageDraw, lines: Sequence[str], x: float, y: float, size: int) -> None:
    """Centred lines below y."""
    for i, line in enumerate(lines):
        draw.text((x, y + i * line_height(size)), line, fill=INK, font=font(size), anchor="ma")


def _scale(figure: Image.Image, colormap: str, left: int, y: int, right: int, size: int) -> None:
    """A colour bar with its ends named."""
    draw = ImageDraw.Draw(figure)
    table = Image.fromarray(colormap_table(colormap)[None])
    low, high = ends(colormap)
    width = min(right - left, 420) - text_width(low, size) - text_width(high, size) - 2 * GAP
    start = left + text_width(low, size) + GAP
    figure.paste(table.resize((max(width, 32), BAR), Image.Resampling.BILINEAR), (start, y))
    middle = y + BAR / 2
    draw.text((start - GAP, middle), low, fill=INK, font=font(size), anchor="rm")
    draw.text((start + max(width, 32) + GAP, middle), high, fill=INK, font=font(size), anchor="lm")
