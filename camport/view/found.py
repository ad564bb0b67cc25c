"""What was found in pictures: all of it on each, then each with its map, box,
label and confidence."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL.Image import Image

from camport.view.boxes import Box
from camport.view.grid import Cell, grid
from camport.view.overlay import overlay
from camport.view.seen import Seen

COLUMNS = 4
COLOURS = ("#00e5ff", "#ffd400", "#ff5ca8", "#7dff5c", "#ff9440", "#b28cff")


@dataclass(frozen=True)
class Found:
    """What was found in one picture and explained, in its own pixels.

    Attributes:
        boxes: [k,4].
        classes: [k].
        confidence: [k].
        heatmaps: [k,H,W], of the picture's size, as pictures show them.
        seen: what the network saw of the picture, where it was cropped: `Placement.seen`.
    """

    boxes: np.ndarray
    classes: np.ndarray
    confidence: np.ndarray
    heatmaps: Sequence[np.ndarray]
    seen: Seen = None


def found_grid(
    pictures: Sequence[Image],
    found: Sequence[Found],
    labels: Sequence[str] | None,
    *,
    title: str = "",
    colormap: str = "turbo",
    alpha: float = 0.6,
) -> Image:
    """Each picture with all boxes, then each of them with its map, box, label and confidence.

    Args:
        pictures: one for each of `found`.
        found: what was found in them.
        labels: class names by number, where known.
        title: above all.
        colormap: of the maps.
        alpha: weight of the colours where a map is hottest.
    """
    rows = []
    for picture, one in zip(pictures, found, strict=True):
        boxes = [_box(one, i, labels, COLOURS[i % len(COLOURS)]) for i in range(len(one.boxes))]
        cells = [Cell(picture, f"{len(boxes)} detection{'s' * (len(boxes) != 1)}", boxes)]
        for i, heatmap in enumerate(one.heatmaps):
            drawn = overlay(picture, heatmap, alpha=alpha, colormap=colormap)
            box = _box(one, i, None, COLOURS[i % len(COLOURS)])
            cells.append(Cell(drawn, said(one, i, labels), [box], one.seen))
        rows += [cells[at : at + COLUMNS] for at in range(0, len(cells), COLUMNS)]
    return grid(rows, title=title, colorbar=colormap)


def said(one: Found, i: int, labels: Sequence[str] | None) -> str:
    """One of them in words, e.g. "seven 0.93"."""
    label = int(one.classes[i])
    name = labels[label] if labels and 0 <= label < len(labels) else f"class {label}"
    return f"{name} {float(one.confidence[i]):.2f}"


def _box(one: Found, i: int, labels: Sequence[str] | None, colour: str) -> Box:
    left, top, right, bottom = (float(v) for v in one.boxes[i])
    text = "" if labels is None else said(one, i, labels)
    return Box((left, top, max(left, right), max(top, bottom)), text, colour)
