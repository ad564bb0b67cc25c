"""Where examples come from: `--data SPEC`, and data sets of torchvision and Hugging Face."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from camport.errors import InputError, guarded
from camport.evaluation.coco import from_coco
from camport.evaluation.examples import Example, Picture
from camport.runtime import open_image

SPECS = ("demo:scenes", "demo:photographs", "FOLDER", "COCO.json")
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
SCENES = 60


def open_data(
    spec: str,
    *,
    count: int | None = None,
    detection: bool = False,
    images: Path | None = None,
    masks: bool = False,
    size: int = 128,
) -> list[Example]:
    """The examples that a SPEC names.

    Args:
        spec: `demo:scenes`, held-out digit scenes with the boxes of each digit class;
            `demo:photographs`, photographs of ImageNet classes with boxes; a folder of images,
            whose subfolders, if it has any, are named for their classes by label or index; a .json
            file of annotations in COCO's format.
        count: the first so many examples; None is all, of scenes those of 60 seeds.
        detection: targets are boxes, one an example, for a detector.
        images: folder of COCO's images; the file's own, or `images` beside it, if left out.
        masks: regions of COCO are the objects' masks, by pycocotools, and not their boxes.
        size: side of the scenes in pixels.

    Raises:
        InputError: an unknown SPEC, a folder without images, a file that is no COCO file.
    """
    if count is not None and count < 1:
        raise InputError(f"{count} examples; at least 1")
    if spec == "demo:scenes":
        found: Iterable[Example] = _scenes(size, count, detection)
    elif spec == "demo:photographs":
        found = _photographs()
    elif spec.startswith("demo:"):
        raise InputError(f"{spec} is no data; there are demo:scenes and demo:photographs")
    elif spec.lower().endswith(".json"):
        found = from_coco(Path(spec), images, detection=detection, masks=masks)
    else:
        with guarded(f"--data {spec} cannot be read"):
            found = from_folder(Path(spec))
    examples = list(found)[:count]
    if not examples:
        raise InputError(f"{spec} holds no example")
    return examples


def from_folder(folder: Path) -> list[Example]:
    """Images of a folder, in the order of their names;
    those in subfolders are of the class that names it."""
    if not folder.is_dir():
        raise InputError(f"--data {folder} is no folder; wanted is one of {', '.join(SPECS)}")
    classes = sorted(
        child for child in folder.iterdir() if child.is_dir() and not child.name.startswith(".")
    )
    found = [Example(file.name, partial(open_image, file)) for file in _files(folder)]
    for child in classes:
        target: int | str = int(child.name) if child.name.isdecimal() else child.name
        found += [
            Example(f"{child.name}/{f.name}", partial(open_image, f), target) for f in _files(child)
        ]
    if not found:
        raise InputError(
            f"{folder} holds no image; known suffixes are {', '.join(sorted(SUFFIXES))}"
        )
    return found


def from_dataset(
    dataset: Any,
    *,
    image: str = "image",
    label: str = "label",
    convert: Callable[[Any], Example] | None = None,
) -> list[Example]:
    """The examples of a data set of torchvision, of Hugging Face, or any sequence of pairs (image,
    class).

    Args:
        dataset: has a length and items: pairs of an image and a class index or label, or mappings.
        image: name of the image in a mapping.
        label: name of the class in a mapping.
        convert: makes an `Example` of an item, where it holds boxes or masks. It is called for
            every item at once.

    Raises:
        InputError: an item of another form.
    """
    if convert is not None:
        return [convert(dataset[i]) for i in range(len(dataset))]
    read = partial(_item, dataset, image=image, label=label)
    return [
        Example(f"{i:06d}", partial(_picture, read, i), _target(read, i))
        for i in range(len(dataset))
    ]


def _target(read: Callable[[int], tuple[Any, Any]], i: int) -> int | str | None:
    """The class of an item."""
    target = read(i)[1]
    if target is None or isinstance(target, str):
        return target
    try:
        return int(target)
    except (TypeError, ValueError):
        raise InputError(
            f"item {i} of the data set has {type(target).__name__} for a class; give convert= for"
            " boxes and masks"
        ) from None


def _item(dataset: Any, i: int, *, image: str, label: str) -> tuple[Any, Any]:
    item = dataset[i]
    if isinstance(item, Mapping):
        if image not in item:
            raise InputError(
                f"item {i} of the data set has no {image!r}; it has {', '.join(map(str, item))}"
            )
        return item[image], item.get(label)
    if isinstance(item, Sequence) and len(item) == 2:
        return item[0], item[1]
    raise InputError(
        f"item {i} of the data set is a {type(item).__name__}; wanted a pair (image, class) or a"
        " mapping"
    )


def _picture(read: Callable[[int], tuple[Any, Any]], i: int) -> Picture:
    picture = read(i)[0]
    if isinstance(picture, Image.Image):
        return picture.convert("RGB")
    array = np.asarray(picture)
    if array.dtype == np.uint8 and array.ndim == 3 and array.shape[2] == 3:
        return Image.fromarray(array)
    raise InputError(
        f"item {i} of the data set is {array.dtype} {list(array.shape)}; wanted a PIL image or"
        " uint8 [h,w,3]: leave out its transform, camport prepares images as the model wants them"
    )


def _files(folder: Path) -> list[Path]:
    return sorted(f for f in folder.iterdir() if f.suffix.lower() in SUFFIXES and f.is_file())


def _scenes(size: int, count: int | None, detection: bool) -> list[Example]:
    """Every digit class of each scene with the union of its boxes; for a detector, every digit."""
    from camport.demo.scenes import make_scene

    found: list[Example] = []
    for seed in range(SCENES if count is None else count):  # a scene has one example at least
        scene = make_scene(seed, split="held-out", size=size)
        for label in sorted({digit.label for digit in scene.digits}):
            boxes = np.array(
                [digit.box for digit in scene.digits if digit.label == label], np.float32
            )
            name = f"scene {seed}, {label}"
            if detection:
                found += [
                    Example(
                        f"{name}.{i}",
                        partial(_opened, scene.image),
                        detected(box, label),
                        box[None],
                    )
                    for i, box in enumerate(boxes)
                ]
            else:
                found.append(Example(name, partial(_opened, scene.image), label, boxes))
    return found


def detected(box: np.ndarray, label: int) -> dict[str, Any]:
    """A detector's target: one box and its class."""
    return {"boxes": np.asarray(box, np.float32).reshape(1, 4), "class_ids": np.array([label])}


def _photographs() -> list[Example]:
    from camport.demo.photographs import SOURCES, photograph

    return [
        Example(
            f"{name}, {asked.label}",
            partial(photograph, name),
            asked.target,
            np.array(asked.boxes, np.float32),
        )
        for name, source in SOURCES.items()
        for asked in source.questions
    ]


def _opened(picture: np.ndarray) -> Image.Image:
    return Image.fromarray(picture)
