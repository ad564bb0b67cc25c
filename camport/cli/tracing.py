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
from camport.cli.fields import asked as asked_of_fields
from camport.cli.given import Given, told
from camport.errors import InputError
from camport.runtime import Placement, class_index, open_image
from camport.runtime.bands import KEY
from camport.targets import Field
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
    task: str,
    fields: Sequence[Field],
    texts: Sequence[str],
    given: Given,
    labels: tuple[str, ...] | None,
    shown: Sequence[Image],
    placements: Sequence[Placement],
) -> Any:
    """The target to trace with: what was asked of each picture, or the task's example.

    Args:
        task: the adapter's name.
        fields: that the adapter declares; none: it is a built-in one.
        texts: of `--target`.
        given: the options that tasks declare; boxes lie in them, one for all pictures or for each.
        labels: names of classes.
        shown: the pictures.
        placements: how they lie in the network's input.

    Raises:
        InputError: what the task is not asked, or a number of boxes that does not fit.
        UnknownNameError: no such label.
    """
    if fields and texts:
        each = [
            asked_of_fields(texts, fields, labels, picture, placement).values
            for picture, placement in zip(shown, placements, strict=True)
        ]
        return {name: np.stack([np.asarray(one[name]) for one in each]) for name in each[0]}
    target, given = told(task, texts, given)
    example, boxes = described(task).example, given.get("box") or []
    if described(task).shown == "words":
        return target
    index = -1 if target is None else class_index(target, labels)
    if not boxes:
        if target is None:
            return example
        if described(task).shown == "boxes":
            raise InputError(f"--target {target}: name the box too, e.g. --box 10,10,60,60")
        return _of_class(task, index)
    if of_traced(task, boxes, len(shown)) == "one":
        return {"class": index, "box": tuple(map(float, parsed(boxes, shown[0], placements[0])[0]))}
    each_box = boxes if len(boxes) == len(shown) else list(boxes) * len(shown)
    rows = [
        parsed([text], picture, placement)
        for text, picture, placement in zip(each_box, shown, placements, strict=True)
    ]
    classes = {} if target is None else {"class_ids": np.full(len(rows), index)}
    return {"boxes": np.concatenate(rows), **classes}


def _of_class(task: str, index: int) -> Any:
    """A class, or an answer, without what else the task is asked."""
    kind = described(task)
    if kind.shown == "answer":
        word = {} if kind.written else {"answer": index}
        return {**(kind.example or {}), **word}
    return {"class": index} if kind.shown == "region" else index
