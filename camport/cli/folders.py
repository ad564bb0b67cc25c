"""Folders of images in, and a folder of pictures out: one file an image, and those that are there already stay."""

from collections.abc import Sequence
from pathlib import Path

from camport.cli.calibration import found
from camport.cli.printing import say
from camport.errors import InputError
from camport.files import check_folder

SUFFIX = ".png"


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
    """Whether each image gets a file: those of a folder, or several, in a folder or a name without a suffix."""
    many = len(places) > 1 or any(place.is_dir() for place in places)
    return many and (output.is_dir() or (not output.suffix and not output.exists()))


def jobs(output: Path, images: Sequence[Path]) -> list[tuple[Path, list[Path]]]:
    """A file for each image, under its name; those that are there already are left out, and told.

    Raises:
        InputError: two images of one name.
        OutputError: a folder in which nothing can be written.
    """
    check_folder(output)
    wanted: dict[Path, Path] = {}
    for image in images:
        path = output / f"{image.stem}{SUFFIX}"
        if path in wanted:
            raise InputError(f"{wanted[path]} and {image} would both be written to {path}; explain them one by one")
        wanted[path] = image
    output.mkdir(exist_ok=True)
    open_ = [(path, [image]) for path, image in wanted.items() if not path.exists()]
    if len(open_) < len(wanted):
        say(f"{len(wanted) - len(open_)} of {len(wanted)} images have their picture in {output} already")
    return open_
