"""Image files to RGB pictures: every way a file can be wrong is one clear error."""

import os
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from camport.errors import ImageFileError, silenced
from camport.runtime.bands import SUFFIXES, open_bands
from camport.runtime.regular_file import check_regular

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "AVIF", "JPEG2000")
"""Pillow's names of the formats that are opened.
Others may start programs (EPS) or call plugins."""

MAX_PIXELS = 89_478_485
"""Largest image opened, in pixels: Pillow's own limit against decompression bombs,
as a constant."""


def open_image(path: str | os.PathLike[str]) -> Image.Image:
    """Opens an image file as an upright 8-bit RGB picture.

    The EXIF orientation is applied, transparency is flattened on white, palettes are resolved,
    16-bit greys are scaled to 8 bits, floating-point pixels are read as [0,1]; of an animation the
    first frame counts. Of an array file (.npy, .npz) the picture shows the first bands, and
    `Preprocess.apply` takes all of them.

    Raises:
        ImageFileError: the file is missing, a directory, unreadable, empty, truncated, no image,
            or larger than `MAX_PIXELS`.
    """
    file = check_image(path)
    if file.suffix.lower() in SUFFIXES:
        return open_bands(file)
    try:
        # Pillow warns of large images before they are measured
        with silenced(Warning), Image.open(file, formats=_known()) as opened:
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
        what = (
            "is empty" if file.stat().st_size == 0 else f"is not an image of {', '.join(FORMATS)}"
        )
        raise ImageFileError(f"{file} {what}") from None
    except Exception as error:  # decoders raise whatever broken bytes lead them to
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ImageFileError(f"{file} cannot be read as an image: {reason}") from None


def check_image(path: str | os.PathLike[str]) -> Path:
    """The path of a regular file that may be an image; nothing of it is read.

    Raises:
        ImageFileError: there is none, or a directory, a pipe or a device.
    """
    if os.path.isdir(path):
        raise ImageFileError(f"{Path(path)} is a directory; name an image file in it")
    return check_regular(path, kind=ImageFileError)


def is_picture(path: str | os.PathLike[str]) -> bool:
    """Whether a regular file begins as an image of `FORMATS` does."""
    try:
        with silenced(Warning), Image.open(check_image(path), formats=_known()):
            return True
    except Exception:  # no file, no image, or bytes that no decoder is ready for
        return False


@cache
def _known() -> tuple[str, ...]:
    """`FORMATS` as far as this Pillow has them: it raises KeyError for the others."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _too_large(file: Path, what: str) -> str:
    return (
        f"{file} {what}; the limit is {MAX_PIXELS / 1e6:.0f} million pixels: make it smaller first"
    )


def _to_rgb(image: Image.Image) -> Image.Image:
    """RGB of any mode Pillow decodes to."""
    if image.mode.startswith(("I", "F")):
        return Image.fromarray(_grey_to_8_bit(np.asarray(image))).convert("RGB")
    if image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        front = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), front).convert("RGB")
    return image.convert("RGB")


def _grey_to_8_bit(pixels: np.ndarray) -> np.ndarray:
    """Grey [H,W] of 16 or 32 bits to uint8; Pillow's own conversion clips at 255,
    which gives white."""
    if pixels.dtype.kind == "f":
        scale = 255.0
    else:
        scale = 1 / 257 if pixels.dtype.itemsize == 2 or pixels.max(initial=0) > 255 else 1.0
    return np.asarray(np.clip(np.rint(pixels * scale), 0, 255), dtype=np.uint8)
