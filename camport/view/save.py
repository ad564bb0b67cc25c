"""Pictures and arrays as files, which appear whole or not at all."""

import os
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

import numpy as np
from PIL import Image

from camport import files
from camport.errors import OutputError
from camport.files import write_atomic
from camport.view.pictures import ImageLike, to_pixels

IMAGES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}
ARRAYS = (".npy", ".npz")
SUFFIXES = (*IMAGES, *ARRAYS)


def check_writable(path: str | os.PathLike[str], suffixes: Collection[str] = SUFFIXES) -> Path:
    """Says before any work is done whether a picture or numbers can be written there,
    see `camport.files`."""
    return files.check_writable(path, suffixes)


def save_image(path: str | os.PathLike[str], image: ImageLike, *, quality: int = 92) -> Path:
    """Writes one picture as .png or .jpg (`quality` 1 to 95), whole or not at all;
    returns the path.

    Raises:
        OutputError: see `check_writable`, or the disk is full.
        InputError: no picture, see `to_pixels`.
    """
    file = check_writable(path, tuple(IMAGES))
    picture = Image.fromarray(to_pixels(image))
    kind = IMAGES[file.suffix.lower()]
    options = {"quality": quality, "subsampling": 0} if kind == "JPEG" else {}
    return write_atomic(file, lambda stream: picture.save(stream, kind, **options))


def _write_npz(stream: IO[bytes], arrays: Mapping[str, np.ndarray]) -> None:
    """As np.savez_compressed, which before NumPy 2 leaves the archive open where a write fails."""
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, np.asanyarray(array), allow_pickle=False)


def save_arrays(
    path: str | os.PathLike[str], arrays: np.ndarray | Mapping[str, np.ndarray]
) -> Path:
    """Writes one array as .npy or several by name as .npz, whole or not at all; returns the path.

    Raises:
        OutputError: see `check_writable`; several arrays in an .npy.
    """
    file = check_writable(path, ARRAYS)
    if file.suffix.lower() == ".npz":
        named = dict(arrays) if isinstance(arrays, Mapping) else {"heatmap": arrays}
        return write_atomic(file, lambda stream: _write_npz(stream, named))
    if isinstance(arrays, Mapping):
        raise OutputError(
            f"{file} holds one array, not {', '.join(arrays)}; name an .npz for several"
        )

    def write(stream: IO[bytes]) -> None:
        # of a whole file NumPy takes the descriptor, and does not say why a write failed
        only: Any = SimpleNamespace(write=stream.write)
        np.save(only, arrays, allow_pickle=False)

    return write_atomic(file, write)
