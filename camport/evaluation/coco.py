"""Annotations in COCO's format: https://cocodataset.org/#format-data."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from camport.errors import InputError, MissingDependencyError, guarded
from camport.evaluation.examples import Example
from camport.runtime import open_image
from camport.runtime.regular_file import read_text

LARGEST = 2**31
"""Bytes of a file of annotations."""


def from_coco(
    file: Path, images: Path | None = None, *, detection: bool, masks: bool
) -> list[Example]:
    """Every class of each image with all of its objects; for a detector, every object.

    The class is asked about by its name, which the model's labels have to hold. Crowds are left
    out.

    Raises:
        InputError: a file that is no COCO file, or images that are not there.
        MissingDependencyError: masks without pycocotools.
    """
    text = read_text(file, "annotations", limit=LARGEST)
    with guarded(
        f"{file} is no file of COCO's format", remedy="see https://cocodataset.org/#format-data"
    ):
        data = json.loads(text)
        names = {c["id"]: str(c["name"]) for c in data["categories"]}
        files = {i["id"]: str(i["file_name"]) for i in data["images"]}
        sizes = {i["id"]: (i.get("height"), i.get("width")) for i in data["images"]}
        objects = [a for a in data["annotations"] if not a.get("iscrowd")]
        asked: dict[tuple[Any, Any], list[dict[str, Any]]] = {}
        for number, annotation in enumerate(objects):
            key = (annotation["image_id"], number if detection else annotation["category_id"])
            asked.setdefault(key, []).append(annotation)
        boxes = {
            key: np.array([_corners(a["bbox"]) for a in found], np.float32)
            for key, found in asked.items()
        }
        paths = {key: _path(file, images, files[key[0]]) for key in asked}
        labels = {key: names[found[0]["category_id"]] for key, found in asked.items()}
        if not all(np.isfinite(found).all() for found in boxes.values()):
            raise InputError(f"{file} has boxes with numbers that are not finite; remove them")
    if masks:
        _masks_of()  # asked for before the work starts
    found = []
    for key in sorted(asked, key=lambda key: (files[key[0]], labels[key], str(key[1]))):
        name = f"{files[key[0]]}, {labels[key]}" + (
            f" {asked[key][0].get('id', key[1])}" if detection else ""
        )
        target: Any = (
            {"boxes": boxes[key], "class_ids": [labels[key]]} if detection else labels[key]
        )
        mask = partial(_mask, asked[key], sizes[key[0]]) if masks else None
        found.append(
            Example(
                name, partial(open_image, paths[key]), target, None if masks else boxes[key], mask
            )
        )
    return found


def _corners(box: Any) -> list[float]:
    left, top, width, height = map(float, box)
    return [left, top, left + width, top + height]


def _path(file: Path, images: Path | None, name: str) -> Path:
    folders = [images] if images is not None else [file.parent, file.parent / "images"]
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    raise InputError(
        f"image {name} of {file} is not in {' or '.join(map(str, folders))}; name its folder by"
        " --images"
    )


def _masks_of() -> Any:
    try:
        from pycocotools import mask
    except ModuleNotFoundError:
        raise MissingDependencyError(
            "masks of COCO need pycocotools: pip install pycocotools"
        ) from None
    return mask


def _mask(annotations: list[dict[str, Any]], size: tuple[int, int]) -> np.ndarray:
    """The union of polygons and run-length codes, bool [h,w]."""
    coding = _masks_of()
    with guarded(
        "an object's mask cannot be decoded", remedy="see https://cocodataset.org/#format-data"
    ):
        union = np.zeros(size, bool)
        for annotation in annotations:
            code = annotation["segmentation"]
            if isinstance(code, list):
                code = coding.merge(coding.frPyObjects(code, *size))
            elif isinstance(code["counts"], list):
                code = coding.frPyObjects(code, *size)
            union |= coding.decode(code).astype(bool)
        return union
