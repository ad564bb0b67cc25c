"""Folders of images in, and a folder of pictures out: one file an image,
and those that are there already stay."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL.Image import Image

from camport.cli.calibration import found
from camport.cli.printing import say, work_on
from camport.errors import InputError
from camport.files import check_folder, write_text
from camport.runtime import open_image

SUFFIX = ".png"
RECORD = ".camport.json"
"""In the folder: what its pictures answer."""


def files(places: Sequence[Path]) -> list[Path]:
    """The images that were named, and those in the folders that were named, by name.

    Raises:
        ImageFileError: a folder without images.
    """
    inside: list[Path] = []
    for place in places:
        inside += found([place], most=10**9) if place.is_dir() else [place]
    return inside


def one_each(output: Path, places: Sequence[Path]) -> bool:
    """Whether each image gets a file: those of a folder, or several,
    in a folder or a name without a suffix."""
    many = len(places) > 1 or any(place.is_dir() for place in places)
    return many and (output.is_dir() or (not output.suffix and not output.exists()))


def jobs(
    output: Path, images: Sequence[Path], settings: Mapping[str, Any]
) -> list[tuple[Path, list[Path]]]:
    """A file for each image, under its name; those that are there already are left out, and told.
    Nothing is written.

    Args:
        output: the folder.
        images: to be explained.
        settings: what is asked of them; pictures of other settings are not gone on from.

    Raises:
        InputError: two images of one name, or pictures that are there and answer something else.
        OutputError: a folder in which nothing can be written.
    """
    check_folder(output)
    wanted: dict[Path, Path] = {}
    for image in images:
        path = output / f"{image.stem}{SUFFIX}"
        if path in wanted:
            raise InputError(
                f"{wanted[path]} and {image} would both be written to {path}; explain them one"
                " by one"
            )
        wanted[path] = image
    open_ = [(path, [image]) for path, image in wanted.items() if not path.exists()]
    if len(open_) < len(wanted):
        there = (
            f"{len(wanted) - len(open_)} of {len(wanted)} images have their picture in {output}"
            " already"
        )
        if other := _other(output / RECORD, settings):
            raise InputError(f"{there}, {other}; name another folder, or delete them")
        say(there)
    return open_


def begin(output: Path, settings: Mapping[str, Any]) -> None:
    """Makes the folder and notes what its pictures answer."""
    output.mkdir(exist_ok=True)
    write_text(output / RECORD, _text(settings))


def opened(images: Sequence[Path], several: bool) -> Iterator[Image]:
    """The images, opened one at a time: one may have 89 million pixels. Of `several`, warnings name
    the one that is at work."""
    try:
        for image in images:
            work_on(image if several else None)
            yield open_image(image)
    finally:
        work_on(None)


def _other(record: Path, settings: Mapping[str, Any]) -> str:
    """In what the pictures that are there differ from what is asked;
    empty where they are the same."""
    try:
        then = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return "and nothing says what they answer"
    now = json.loads(_text(settings))
    if not isinstance(then, dict):
        return "and nothing says what they answer"
    differ = [name for name in now if then.get(name) != now[name]]
    return f"of another {', '.join(differ)}" if differ else ""


def _text(settings: Mapping[str, Any]) -> str:
    return json.dumps(settings, default=str, sort_keys=True)
