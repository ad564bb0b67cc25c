"""What is evaluated on: pictures, with the class that is asked about and where it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from camport.errors import InputError
from camport.runtime import Placement

Picture = Image.Image | np.ndarray


@dataclass(frozen=True)
class Example:
    """One question about one picture.

    Attributes:
        name: tells it from the others, and stays the same between runs.
        picture: opens it; uint8 RGB.
        target: a class, by index or label, a detector's `{"boxes": ..., "class_ids": ...}` in
            pixels of the picture, or None for what the model says by itself.
        boxes: [n,4] left, top, right, bottom in pixels of the picture: where the explained thing
            is; None: not known.
        mask: bool [h,w] of the picture, in place of `boxes`.
    """

    name: str
    picture: Callable[[], Picture]
    target: int | str | Mapping[str, Any] | None = None
    boxes: np.ndarray | None = None
    mask: Callable[[], np.ndarray] | None = None


def region_of(example: Example, placement: Placement) -> np.ndarray | None:
    """Where the explained thing is in the network's input, bool [H,W];
    None where the example does not say.

    A pixel of the input belongs to it where its centre does.

    Raises:
        InputError: a mask that is no bool array of the picture's size.
    """
    height, width = placement.network
    y, x = np.arange(height) + 0.5, np.arange(width) + 0.5
    if example.mask is not None:
        mask = np.asarray(example.mask())
        if mask.dtype != bool or mask.shape != placement.image:
            raise InputError(
                f"the mask of {example.name} is {mask.dtype} {list(mask.shape)}; wanted bool"
                f" {list(placement.image)}"
            )
        rows, columns = (
            np.floor((centres - origin) * image / resized).astype(int)
            for centres, origin, image, resized in zip(
                (y, x), placement.origin, placement.image, placement.resized, strict=True
            )
        )
        inside = [(i >= 0) & (i < n) for i, n in zip((rows, columns), mask.shape, strict=True)]
        found = mask[np.clip(rows, 0, mask.shape[0] - 1)][:, np.clip(columns, 0, mask.shape[1] - 1)]
        return np.asarray(found & inside[0][:, None] & inside[1][None])
    if example.boxes is None:
        return None
    region = np.zeros((height, width), bool)
    for left, top, right, bottom in placement.boxes_to_network(np.reshape(example.boxes, (-1, 4))):
        region |= ((y >= top) & (y < bottom))[:, None] & ((x >= left) & (x < right))[None]
    return region
