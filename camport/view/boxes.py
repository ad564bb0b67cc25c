"""Labelled boxes on a picture."""

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageColor, ImageDraw

from camport.errors import InputError
from camport.view.text import font, line_height, text_width, wrap


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels of the picture it is drawn on.

    Args:
        xyxy: left, top, right, bottom.
        label: text at its upper left corner.
        colour: anything Pillow understands, "#00e5ff" or "lime".
        line: its width in pixels of what is drawn, with a dark rim outside alone; None: by the
            picture's size, with a rim at both sides.

    Raises:
        InputError: corners in the wrong order or not finite, or an unknown colour.
    """

    xyxy: tuple[float, float, float, float]
    label: str = ""
    colour: str = "#00e5ff"
    line: int | None = None

    def __post_init__(self) -> None:
        left, top, right, bottom = self.xyxy
        if not (
            left <= right < float("inf")
            and top <= bottom < float("inf")
            and min(left, top) > float("-inf")
        ):
            raise InputError(
                f"box is {self.xyxy}; give left, top, right, bottom in pixels, as finite numbers"
            )
        try:
            ImageColor.getrgb(self.colour)
        except ValueError:
            raise InputError(
                f"box colour is {self.colour!r}; give a name such as 'lime', or '#rrggbb'"
            ) from None


def draw_boxes(
    picture: Image.Image,
    boxes: Sequence[Box],
    scale: tuple[float, float] = (1.0, 1.0),
    size: int = 14,
) -> None:
    """Draws on `picture` itself: lines with a dark rim, seen on any ground, then the labels,
    above all lines.

    Args:
        picture: RGB; changed.
        boxes: in pixels before `scale`.
        scale: x and y factors from the boxes' pixels to the picture's.
        size: of the labels, in pixels.
    """
    draw = ImageDraw.Draw(picture)
    corners = [_inside(box, scale, picture.size) for box in boxes]
    usual = max(2, round(min(picture.size) / 128))
    for box, (left, top, right, bottom) in zip(boxes, corners, strict=True):
        line, rim = (usual, 2) if box.line is None else (box.line, 1)
        draw.rectangle((left, top, right, bottom), outline="black", width=line + rim)
        if right - left > 2 and bottom - top > 2:
            draw.rectangle(
                (left + 1, top + 1, right - 1, bottom - 1), outline=box.colour, width=line
            )
    for box, (left, top, _, _) in zip(boxes, corners, strict=True):
        if box.label:
            _draw_label(draw, box, left, top, picture.width, size)


def _inside(
    box: Box, scale: tuple[float, float], size: tuple[int, int]
) -> tuple[float, float, float, float]:
    """The box in the picture's pixels, cut to the picture."""
    left, top, right, bottom = box.xyxy
    (left, right), (top, bottom) = (
        tuple(min(max(v * factor, 0), limit - 1) for v in pair)
        for pair, factor, limit in zip(((left, right), (top, bottom)), scale, size, strict=True)
    )
    return left, top, right, bottom


def _draw_label(
    draw: ImageDraw.ImageDraw, box: Box, left: float, top: float, width: int, size: int
) -> None:
    text = wrap(box.label, size, width - 8, lines=1)[0]
    tab_width, tab_height = text_width(text, size) + 8, line_height(size) + 2
    # above the box, or inside where there is no room above
    x = min(left, width - tab_width)
    y = top - tab_height if top >= tab_height else top
    draw.rectangle((x, y, x + tab_width, y + tab_height), fill=box.colour)
    red, green, blue = ImageColor.getrgb(box.colour)[:3]
    ink = "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 120 else "white"
    draw.text((x + 4, y + tab_height / 2), text, fill=ink, font=font(size), anchor="lm")
