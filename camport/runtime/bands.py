"""Images of any number of channels: arrays [c,H,W] of a .npy or .npz file,
and a picture of them to draw on.

The picture carries the array in its `info`, Pillow's place for what a file says besides its pixels;
so whatever takes a picture takes such an image too.
"""

import os
import zipfile

import numpy as np
from PIL import Image

from camport.errors import ImageFileError, InputError

SUFFIXES = (".npy", ".npz")
KEY = "camport.bands"
LARGEST = 2**31
"""Bytes of an array, unpacked."""


def open_bands(path: str | os.PathLike[str]) -> Image.Image:
    """The picture of an array file, with the array [c,H,W] in its `info`.

    Raises:
        ImageFileError: no array, several of them, or one that is no image.
    """
    try:
        _check_size(path)
        found = np.load(path, allow_pickle=False)
        if not isinstance(found, np.ndarray):
            with found:
                if len(found.files) != 1:
                    raise ImageFileError(
                        f"{path} holds {len(found.files)} arrays ({', '.join(found.files[:5])});"
                        " save one, [c,H,W]"
                    )
                found = found[found.files[0]]
    except ImageFileError:
        raise
    except Exception as error:  # damaged files raise what their bytes lead to
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ImageFileError(f"{path} cannot be read as an array: {reason}") from None
    try:
        bands = checked_bands(found)
    except InputError as error:
        raise ImageFileError(f"{path}: {error}") from None
    picture = Image.fromarray(_shown(bands)).convert("RGB")
    picture.info[KEY] = bands
    return picture


def _check_size(path: str | os.PathLike[str]) -> None:
    """An archive may unpack to a thousand times its size."""
    packed = os.stat(path).st_size
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            packed = sum(entry.file_size for entry in archive.infolist())
    if packed > LARGEST:
        raise ImageFileError(f"{path} holds {packed} bytes of arrays; at most {LARGEST} are read")


def checked_bands(array: np.ndarray) -> np.ndarray:
    """An array as [c,H,W].

    Raises:
        InputError: another rank, no numbers, nothing in it, or values that are not finite.
    """
    bands = array[0] if array.ndim == 4 and len(array) == 1 else array
    bands = bands[None] if bands.ndim == 2 else bands
    if bands.ndim != 3 or 0 in bands.shape or bands.dtype.kind not in "fiub":
        raise InputError(
            f"the array is {array.dtype} {list(array.shape)}; an image is [c,H,W] of numbers"
        )
    if bands.dtype.kind == "f" and not np.isfinite(bands).all():
        raise InputError(
            f"the array has {int((~np.isfinite(bands)).sum())} values that are not finite"
        )
    return bands


def channels_first(array: np.ndarray, channels: int) -> np.ndarray:
    """An array as [c,H,W] for a network of so many channels;
    uint8 [h,w,c] where only the last axis has as many.

    Raises:
        InputError: as `checked_bands`.
    """
    bands = checked_bands(array)
    if bands.dtype == np.uint8 and array.ndim > 2 and len(bands) != channels == bands.shape[2]:
        return bands.transpose(2, 0, 1)
    return bands


def bands_of(image: Image.Image) -> np.ndarray | None:
    """The array that a picture carries, as long as it is that picture."""
    bands = image.info.get(KEY)
    return (
        bands
        if isinstance(bands, np.ndarray) and bands.shape[1:] == (image.height, image.width)
        else None
    )


def planes_of(
    image: Image.Image | np.ndarray, bands: np.ndarray | None, channels: int
) -> list[Image.Image]:
    """One image for each channel: 8-bit ones, or floating-point ones of an array that is not uint8.

    Raises:
        InputError: the image has other channels.
    """
    if bands is not None:
        if len(bands) != channels:
            raise InputError(
                f"the image is {list(bands.shape)}, channels first, and the network takes"
                f" {channels} channels"
            )
        return [
            Image.fromarray(band if band.dtype == np.uint8 else band.astype(np.float32))
            for band in bands
        ]
    assert isinstance(image, Image.Image)
    if channels == 1:
        return [image.convert("L")]
    if channels == 3:
        return list(image.convert("RGB").split())
    raise InputError(
        f"the network takes {channels} channels, which a picture does not have; give an array"
        f" [{channels},H,W], a .npy file or a .npz file with one array"
    )


def _shown(bands: np.ndarray) -> np.ndarray:
    """uint8 [H,W] or [H,W,3]: the first three bands as colours, or the first as grey."""
    picked = bands[:3].transpose(1, 2, 0) if len(bands) >= 3 else bands[0]
    if picked.dtype == np.uint8:
        return np.ascontiguousarray(picked)
    low, high = float(picked.min()), float(picked.max())
    span = high - low or 1.0
    return np.asarray(np.rint((picked.astype(np.float64) - low) / span * 255), dtype=np.uint8)
