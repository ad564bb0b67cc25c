"""A picture as figures show it: of a bounded size, its placement with it."""

from collections.abc import Sequence
from dataclasses import replace

from PIL.Image import Image

from camport.runtime import Placement
from camport.view import Box

LARGEST = 2048
"""The longer side that is drawn; a figure's cell has 640 pixels."""


def bounded(picture: Image, placement: Placement) -> tuple[Image, Placement]:
    """The picture, reduced where it is larger than any figure shows,
    and where this one lies in the network.

    Maps are brought to the size of what is drawn, so their memory is bounded with it.
    """
    if max(picture.size) <= LARGEST:
        return picture, placement
    reduced = picture.copy()
    reduced.thumbnail((LARGEST, LARGEST))
    return reduced, replace(placement, image=(reduced.height, reduced.width))


def scaled(box: Box, scale: float) -> Box:
    """A mark on the picture, on one that is drawn larger or smaller by `scale`."""
    left, top, right, bottom = (v * scale for v in box.xyxy)
    return replace(box, xyxy=(left, top, right, bottom))


def at_layers(layers: Sequence[str] | None) -> str:
    """What stands behind a method's name in a title, e.g. " at layer4";
    nothing where there is no layer."""
    return f" at {', '.join(layers)}" if layers else ""
