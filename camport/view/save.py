"""Files appear whole or not at all: written beside their place under another name, then moved into it."""

import contextlib
import os
import secrets
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image

from camport.errors import OutputError
from camport.view.pictures import ImageLike, to_pixels

IMAGES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}
ARRAYS = (".npy", ".npz")
SUFFIXES = (*IMAGES, *ARRAYS)


def check_writable(path: str | os.PathLike[str], suffixes: Collection[str] = SUFFIXES) -> Path:
    """Says before any work is done whether a file can be written there.

    Args:
        path: where a file shall be written.
        suffixes: the kinds of file that will do, with the dot.

    Returns:
        The path, as a Path.

    Raises:
        OutputError: unknown suffix, a missing or unwritable directory, or something else than a file in its
            place.
    """
    file = Path(path)
    try:
        os.stat(file)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        pass  # told below
    except (OSError, ValueError) as error:  # a name that is too long, a zero byte, a loop of links
        reason = error.strerror if isinstance(error, OSError) else error
        raise OutputError(f"{file} cannot be written: {reason}") from None
    if file.is_dir():
        raise OutputError(f"{file} is a directory; name a file in it")
    if file.suffix.lower() not in suffixes:
        ending = f"ends in {file.suffix!r}" if file.suffix else "has no suffix"
        raise OutputError(f"{file} {ending}; what can be written is {', '.join(suffixes)}")
    parent = file.parent
    if not parent.is_dir():
        what = "is a file, not a directory" if parent.exists() else "does not exist; make the directory first"
        raise OutputError(f"{file} cannot be written: {parent} {what}")
    if file.exists() and not file.is_file():
        raise OutputError(f"{file} is no regular file and would be replaced; name another one")
    for place in (parent, *([file] if file.exists() else [])):
        if not os.access(place, os.W_OK):
            raise OutputError(f"{file} cannot be written: no permission to write {place}")
    return file


def write_atomic(path: str | os.PathLike[str], write: Callable[[IO[bytes]], None]) -> Path:
    """Writes a file by way of a temporary one in the same directory, which is gone whatever happens.

    Args:
        path: the file; links are followed, an existing file keeps its permissions.
        write: gets the open file.

    Returns:
        The path, as a Path.

    Raises:
        OutputError: the operating system refused.
    """
    file = Path(path)
    place = Path(os.path.realpath(file))
    hidden = place.with_name(f".camport-{secrets.token_hex(6)}.tmp")
    try:
        try:
            with hidden.open("xb") as stream:
                write(stream)
                stream.flush()
            if place.exists():
                hidden.chmod(place.stat().st_mode & 0o777)
            os.replace(hidden, place)
        except OSError as error:
            raise OutputError(f"{file} cannot be written: {error.strerror or error}") from None
    finally:
        with contextlib.suppress(OSError):
            hidden.unlink()
    return file


def save_image(path: str | os.PathLike[str], image: ImageLike, *, quality: int = 92) -> Path:
    """Writes one picture as .png or .jpg (`quality` 1 to 95), whole or not at all; returns the path.

    Raises:
        OutputError: see `check_writable`, or the disk is full.
        InputError: no picture, see `to_pixels`.
    """
    file = check_writable(path, tuple(IMAGES))
    picture = Image.fromarray(to_pixels(image))
    kind = IMAGES[file.suffix.lower()]
    options = {"quality": quality, "subsampling": 0} if kind == "JPEG" else {}
    return write_atomic(file, lambda stream: picture.save(stream, kind, **options))


def save_arrays(path: str | os.PathLike[str], arrays: np.ndarray | Mapping[str, np.ndarray]) -> Path:
    """Writes one array as .npy or several by name as .npz, whole or not at all; returns the path.

    Raises:
        OutputError: see `check_writable`; several arrays in an .npy.
    """
    file = check_writable(path, ARRAYS)
    if file.suffix.lower() == ".npz":
        named = dict(arrays) if isinstance(arrays, Mapping) else {"heatmap": arrays}
        return write_atomic(file, lambda stream: np.savez_compressed(stream, **named))  # type: ignore[arg-type]  # as if named held allow_pickle
    if isinstance(arrays, Mapping):
        raise OutputError(f"{file} holds one array, not {', '.join(arrays)}; name an .npz for several")
    return write_atomic(file, lambda stream: np.save(stream, arrays, allow_pickle=False))
