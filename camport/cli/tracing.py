"""The pictures that `camport export` traces and compares with, and what is asked about them."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np
from PIL.Image import Image

from camport.cli.boxes import parsed
from camport.cli.calibration import found
from camport.runtime import Placement, open_image
from camport.runtime.bands import KEY
from camport.targets.asking import of_traced
from camport.targets.task import described

MOST = 8
"""So many of the pictures given are used: all of them are run as one batch."""


def pictures(images: Sequence[Path]) -> list[Image]:
    """The user's pictures, or two of those that are shipped: on noise a map is often flat,
    which proves little.

    Raises:
        ImageFileError: nothing there, or a file that is no image.
    """
    if images:
        return [open_image(file) for file in found(images, MOST)]
    with as_file(files("camport.demo") / "samples") as folder:
        return [open_image(file) for file in sorted(folder.glob("*.png"))[:2]]


def with_channels(picture: Image, channels: int) -> Image:
    """A picture for a network of so many channels: beyond three, its colours again,
    turned left to right."""
    if channels in (1, 3):
        return picture
    colours = np.asarray(picture.convert("RGB")).transpose(2, 0, 1)
    turned = [
        colours[i % 3] if i // 3 % 2 == 0 else colours[i % 3, :, ::-1] for i in range(channels)
    ]
    made = picture.copy()
    made.info[KEY] = np.stack(turned)
    return made


def asked(
    task: str, box: Sequence[str], shown: Sequence[Image], placements: Sequence[Placement]
) -> Any:
    """The target to trace with: what lies in the boxes, one for all pictures or one for each.

    Raises:
        InputError: a task that is not asked about boxes, or a number of boxes that does not fit.
    """
    if not box:
        return described(task).example
    if of_traced(task, box, len(shown)) == "one":
        return {
            "class": -1,
            "box": tuple(float(v) for v in parsed(box, shown[0], placements[0])[0]),
        }
    each = box if len(box) == len(shown) else list(box) * len(shown)
    rows = [
        parsed([text], picture, placement)
        for text, picture, placement in zip(each, shown, placements, strict=True)
    ]
    return {"boxes": np.concatenate(rows)}
