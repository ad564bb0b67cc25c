"""How a file wants its pictures, as its input's sizes and the metadata of YOLO packages' exports
tell."""

import ast
from dataclasses import replace
from typing import Any

from camport.models.onnx.channels import channels_of
from camport.models.onnx.file import OnnxFile
from camport.runtime import Preprocess

BOXES = ("detect", "segment", "pose", "obb")
"""Tasks of YOLO packages whose networks find boxes, whatever else they say of each."""


def yolo_task(file: OnnxFile) -> str | None:
    """The task that a YOLO package's export names; detect where it names none,
    None where no such package wrote it."""
    return (
        file.metadata.get("task", "detect") if {"stride", "names"} <= set(file.metadata) else None
    )


def labels(file: OnnxFile) -> tuple[str, ...]:
    """Classes as YOLO packages write them: "{0: 'person', 1: 'bicycle'}"."""
    found = _literal(file, "names")
    if isinstance(found, dict) and sorted(found) == list(range(len(found))):
        return tuple(str(found[i]) for i in range(len(found)))
    return ()


def preprocess(file: OnnxFile) -> Preprocess:
    """Pixels / 255 at the input's size, or at the one side that it names;
    as YOLO packages predict in files of theirs.

    Their detectors letterbox: to the size that the file was exported for, and where it leaves sizes
    free only up to the next multiple of its stride. Their classifiers take the middle of the
    picture.
    """
    port = file.inputs[0] if file.inputs else None
    if port is None or len(port.sizes) != 4:
        return Preprocess()
    channels = channels_of(file)
    height, width = port.sizes[1:3] if channels.last else port.sizes[2:4]
    size = None if height is None or width is None else (height, width)
    plain = Preprocess(scale=1 / 255 if port.type in (1, 10, 11, 16) else 1.0).with_channels(
        channels.count or 3
    )
    task = yolo_task(file)
    stated = size if task is None else size or _image_size(file)
    if stated is None:
        return plain if height is width else replace(plain, side=(height, width))
    if task in BOXES:
        return replace(plain, size=stated, fit="letterbox", stride=None if size else _stride(file))
    return replace(plain, size=stated, fit="crop" if task == "classify" else "stretch")


def _image_size(file: OnnxFile) -> tuple[int, int] | None:
    """`imgsz`: [height, width], or one number for both."""
    found = _literal(file, "imgsz")
    sides = list(found) if isinstance(found, list | tuple) else [found, found]
    if len(sides) == 2 and all(isinstance(n, int) and n > 0 for n in sides):
        return sides[0], sides[1]
    return None


def _stride(file: OnnxFile) -> int | None:
    found = _literal(file, "stride")
    return int(found) if isinstance(found, int | float) and found >= 1 else None


def _literal(file: OnnxFile, key: str) -> Any:
    text = file.metadata.get(key, "")
    try:
        return ast.literal_eval(text) if len(text) < 1_000_000 else None
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
