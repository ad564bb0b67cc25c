"""Images with their maps by several methods and targets, and the title over them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from camport.view.boxes import Box
from camport.view.pictures import ImageLike
from camport.view.seen import Seen

NAMED = 5
"""Of more methods a title tells the number alone."""


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
        seen: what the network saw of it, where it was cropped: `Placement.seen`.
    """

    image: ImageLike
    maps: Sequence[Map]
    title: str = ""
    seen: Seen = None


def titled(methods: Sequence[str], layers: Sequence[Sequence[str]], model: str = "") -> str:
    """E.g. "Grad-CAM, LayerCAM of demo:imagenet at bn2".

    Args:
        methods: their titles.
        layers: of each method; of several methods at different layers each is told its own.
        model: its name; "" where nobody knows it.
    """
    at = [f" at {', '.join(names)}" if names else "" for names in layers]
    together = len(set(at)) == 1
    named = [name + ("" if together else where) for name, where in zip(methods, at, strict=True)]
    what = ", ".join(named) if len(named) <= NAMED else f"{len(named)} methods"
    return what + (f" of {model}" if model else "") + (at[0] if together else "")


def columns(images: Sequence[Shown]) -> list[str]:
    """The methods of all images, in the order in which they first come: column i is one method
    in every image, and none where an image has no map by it."""
    return list(dict.fromkeys(m.method for shown in images for m in shown.maps))
