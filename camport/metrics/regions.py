"""Regions from what data sets have: boxes and polygons."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from camport.errors import InputError, MissingDependencyError


def region_of_boxes(boxes: Sequence[Any] | Tensor, size: tuple[int, int]) -> Bool[Tensor, "b H W"]:
    """True where a pixel's centre lies in one of its image's boxes.

    Args:
        boxes: for each image one box or several, left, top, right, bottom in pixels: [b,4], or a
            list of [n,4].
        size: (height, width) of the images.

    Raises:
        InputError: no numbers, or a box of no area.
    """
    h, w = size
    y, x = torch.arange(h) + 0.5, torch.arange(w) + 0.5
    found = []
    for of_image in boxes:
        rows = torch.as_tensor(of_image, dtype=torch.float64).reshape(-1, 4)
        left, top, right, bottom = rows.T[:, :, None]
        if not bool(((right > left) & (bottom > top)).all()):
            raise InputError(
                f"boxes {rows.tolist()}; wanted left < right and top < bottom, in pixels"
            )
        inside = ((y >= top) & (y < bottom))[:, :, None] & ((x >= left) & (x < right))[:, None]
        found.append(inside.any(0))
    if not found:
        raise InputError("no boxes were given; wanted one image's at least")
    return torch.stack(found)


def region_of_coco(
    annotations: Sequence[Mapping[str, Any]], category: int, size: tuple[int, int]
) -> Bool[Tensor, "H W"]:
    """True where one of an image's COCO annotations of a category is.

    Args:
        annotations: those of one image, as in a COCO file.
        category: `category_id`.
        size: (height, width) of the image they were drawn in.

    Raises:
        InputError: nothing of this category.
        MissingDependencyError: pycocotools, which reads polygons and run lengths.
    """
    try:
        from pycocotools import mask as coco
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            "COCO regions need pycocotools: pip install pycocotools"
        ) from error
    found = torch.zeros(size, dtype=torch.bool)
    own = [a for a in annotations if a["category_id"] == category]
    if not own:
        raise InputError(f"no annotation has category_id {category}")
    for annotation in own:
        drawn = annotation["segmentation"]
        if isinstance(drawn, list):
            drawn = coco.merge(coco.frPyObjects(drawn, *size))
        elif isinstance(drawn["counts"], list):
            drawn = coco.frPyObjects(drawn, *size)
        found |= torch.from_numpy(coco.decode(drawn)).bool()
    return found
