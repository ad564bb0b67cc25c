"""Images out of files and folders, those that calibrate an int8 file above all."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from camport.errors import ImageFileError, guarded
from camport.runtime import Preprocess, open_image

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".npy", ".npz")
MOST = 512
"""So many images are read; what more would change is not worth their memory."""


def found(places: Sequence[Path], most: int) -> list[Path]:
    """The files given, and those in the folders given; of more than `most`, evenly spread ones.

    Raises:
        ImageFileError: a folder without images.
    """
    files: list[Path] = []
    for place in places:
        if place.is_dir():
            with guarded(f"{place} cannot be read", ImageFileError):
                inside = sorted(file for file in place.iterdir() if file.suffix.lower() in SUFFIXES)
            if not inside:
                raise ImageFileError(f"{place} holds no image files ({', '.join(SUFFIXES)})")
            files += inside
        else:
            files.append(place)
    return [
        files[i] for i in np.linspace(0, len(files) - 1, min(most, len(files))).round().astype(int)
    ]


def read(places: Sequence[Path], preprocess: Preprocess) -> np.ndarray:
    """The images as the model wants them, float32 [n,3,H,W]; of more than `MOST`,
    evenly spread ones.

    Raises:
        ImageFileError: nothing there, or a file that is no image.
    """
    return np.stack([preprocess.apply(open_image(file))[0] for file in found(places, MOST)])
