"""A picture as figures show it: of a bounded size, its placement with it."""

from dataclasses import replace

from PIL.Image import Image

from camport.runtime import Placement

LARGEST = 2048
"""The longer side that is drawn; a figure's cell has 640 pixels."""


def bounded(picture: Image, placement: Placement) -> tuple[Image, Placement]:
    """The picture, reduced where it is larger than any figure shows, and where this one lies in the network.

    Maps are brought to the size of what is drawn, so their memory is bounded with it.
    """
    if max(picture.size) <= LARGEST:
        return picture, placement
    reduced = picture.copy()
    reduced.thumbnail((LARGEST, LARGEST))
    return reduced, replace(placement, image=(reduced.height, reduced.width))
