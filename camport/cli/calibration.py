"""Images that calibrate an int8 file, from files and folders."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from camport.errors import ImageFileError
from camport.runtime import Preprocess, open_image

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
MOST = 512
"""So many images are read; what more would change is not worth their memory."""


def read(places: Sequence[Path], preprocess: Preprocess) -> np.ndarray:
    """The images as the model wants them, float32 [n,3,H,W]; of more than `MOST`, evenly spread ones.

    Raises:
        ImageFileError: nothing there, or a file that is no image.
    """
    files: list[Path] = []
    for place in places:
        if place.is_dir():
            found = sorted(file for file in place.iterdir() if file.suffix.lower() in SUFFIXES)
            if not found:
                raise ImageFileError(f"{place} holds no image files ({', '.join(SUFFIXES)})")
            files += found
        else:
            files.append(place)
    chosen = [files[i] for i in np.linspace(0, len(files) - 1, min(MOST, len(files))).round().astype(int)]
    return np.stack([preprocess.apply(open_image(file))[0] for file in chosen])
