"""Image files to RGB pictures: every way a file can be wrong is one clear error."""

import os
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from camport.errors import ImageFileError, silenced
from camport.runtime.bands import SUFFIXES, open_bands

MAX_PIXELS = 89_478_485
"""Largest image opened, in pixels: Pillow's own limit against decompression bombs, as a constant."""


def open_image(path: str | os.PathLike[str]) -> Image.Image:
    """Opens an image file as an upright 8-bit RGB picture.

    The EXIF orientation is applied, transparency is flattened on white, palettes are resolved, 16-bit greys
    are scaled to 8 bits, floating-point pixels are read as [0,1]; of an animation the first frame counts. Of an array
    file (.npy, .npz) the picture shows the first bands, and `Preprocess.apply` takes all of them.

    Raises:
        ImageFileError: the file is missing, a directory, unreadable, empty, truncated, no image, or larger
            than `MAX_PIXELS`.
    """
    file = Path(path)
    if os.path.isdir(file):
        raise ImageFileError(f"{file} is a directory; name an image file in it")
    if not os.path.exists(file):  # Path.exists raises for a name that is too long
        raise ImageFileError(f"{file} does not exist")
    if file.suffix.lower() in SUFFIXES:
        return open_bands(file)
    try:
        with silenced(Warning), Image.open(file) as opened:  # Pillow warns of large images before they are measured
            width, height = opened.size
            if width * height > MAX_PIXELS:
                raise ImageFileError(_too_large(file, f"is {width}x{height} pixels"))
            opened.load()
            return _to_rgb(ImageOps.exif_transpose(opened))
    except ImageFileError:
        raise
    except (Image.DecompressionBombError, MemoryError):
        raise ImageFileError(_too_large(file, "is too large to decode")) from None
    except UnidentifiedImageError:
        what = "is empty" if file.stat().st_size == 0 else "is not an image in a format that Pillow reads"
        raise ImageFileError(f"{file} {what}") from None
    except Exception as error:  # decoders raise whatever broken bytes lead them to
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ImageFileError(f"{file} cannot be read as an image: {reason}") from None


def _too_large(file: Path, what: str) -> str:
    return f"{file} {what}; the limit is {MAX_PIXELS / 1e6:.0f} million pixels: make it smaller first"


def _to_rgb(image: Image.Image) -> Image.Image:
    """RGB of any mode Pillow decodes to."""
    if image.mode.startswith(("I", "F")):
        return Image.fromarray(_grey_to_8_bit(np.asarray(image))).convert("RGB")
    if image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        front = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), front).convert("RGB")
    return image.convert("RGB")


def _grey_to_8_bit(pixels: np.ndarray) -> np.ndarray:
    """Grey [H,W] of 16 or 32 bits to uint8; Pillow's own conversion clips at 255, which gives white."""
    if pixels.dtype.kind == "f":
        scale = 255.0
    else:
        scale = 1 / 257 if pixels.dtype.itemsize == 2 or pixels.max(initial=0) > 255 else 1.0
    return np.asarray(np.clip(np.rint(pixels * scale), 0, 255), dtype=np.uint8)
