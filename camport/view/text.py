"""Text in figures: Pillow's own scalable font, wrapped to a width."""

from functools import cache
from typing import Any

from PIL import Image, ImageDraw, ImageFont

_MEASURE = ImageDraw.Draw(Image.new("L", (1, 1)))


@cache
def font(size: int) -> Any:
    """Pillow's built-in font; a fixed small one where Pillow was built without FreeType."""
    return ImageFont.load_default(size)


def text_width(text: str, size: int) -> int:
    """Width of one line in pixels."""
    return round(_MEASURE.textlength(text, font=font(size)))


def line_height(size: int) -> int:
    """Distance between lines in pixels."""
    return round(size * 1.3)


def wrap(text: str, size: int, width: int, lines: int = 3) -> list[str]:
    """`text` in at most `lines` lines of `width` pixels; what does not fit ends in an ellipsis.

    Line breaks in the text are kept; a word wider than a line is cut.
    """
    wrapped: list[str] = []
    for paragraph in text.splitlines():
        line = ""
        for word in paragraph.split():
            longer = f"{line} {word}" if line else word
            if not line or text_width(longer, size) <= width:
                line = longer
            else:
                wrapped.append(line)
                line = word
        wrapped.append(line)
        if len(wrapped) > lines:
            break  # the rest is never drawn
    kept = [_cut(line, size, width) for line in wrapped[:lines]]
    if len(wrapped) > lines:
        kept[-1] = _cut(kept[-1].rstrip(".") + " ...", size, width)
    return kept


def _cut(line: str, size: int, width: int) -> str:
    if text_width(line, size) <= width:
        return line
    # by halving: the time to measure a text grows with its length
    fits, over = 0, len(line)
    while over - fits > 1:
        middle = (fits + over) // 2
        fits, over = (
            (middle, over) if text_width(line[:middle] + "...", size) <= width else (fits, middle)
        )
    return line[:fits].rstrip() + "..."
