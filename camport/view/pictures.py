"""What view takes for an image, and its one form inside: uint8 [H,W,3]."""

import numpy as np
from PIL import Image

from camport.errors import InputError

ImageLike = Image.Image | np.ndarray


def to_pixels(image: ImageLike) -> np.ndarray:
    """uint8 [H,W,3] of a PIL image, uint8 [H,W,3] or [H,W], or float [H,W,3],
    [3,H,W] or [H,W] in [0,1].

    Raises:
        InputError: another rank, dtype or range; floats outside [0,1] are mostly normalised network
            input.
    """
    if isinstance(image, Image.Image):
        return np.asarray(image.convert("RGB"))
    pixels = np.asarray(image)
    shown = f"{pixels.dtype} {list(pixels.shape)}"
    if pixels.ndim == 3 and pixels.shape[0] in (1, 3) and pixels.shape[2] not in (1, 3):
        pixels = pixels.transpose(1, 2, 0)
    if pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] == 1):
        pixels = np.repeat(pixels.reshape(*pixels.shape[:2], 1), 3, axis=2)
    if pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        raise InputError(f"image is {shown}; give [H,W,3], [3,H,W] or a PIL image, one at a time")
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype.kind != "f":
        raise InputError(f"image is {shown}; give uint8, or floats in [0,1]")
    low, high = float(pixels.min()), float(pixels.max())
    if not -1e-3 <= low <= high <= 1 + 1e-3:
        raise InputError(
            f"image is {shown} in [{low:.4g}, {high:.4g}]; give floats in [0,1]: "
            "undo the network's normalisation, or pass the picture from before it"
        )
    return np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8)


def to_unit_map(heatmap: np.ndarray, name: str = "heatmap") -> np.ndarray:
    """float32 [H,W] in [0,1] of a map that is that already; rounding beyond it is clipped.

    Raises:
        InputError: another rank, values that are not finite, or outside [0,1].
    """
    array = np.asarray(heatmap)
    if array.ndim != 2 or 0 in array.shape or array.dtype.kind not in "fiub":
        raise InputError(
            f"{name} is {array.dtype} {list(array.shape)}; give one map [H,W] in [0,1]"
        )
    array = array.astype(np.float32)
    if not np.isfinite(array).all():
        raise InputError(
            f"{name} has {int((~np.isfinite(array)).sum())} values that are not finite"
        )
    low, high = float(array.min()), float(array.max())
    if not -1e-3 <= low <= high <= 1 + 1e-3:
        raise InputError(
            f"{name} lies in [{low:.4g}, {high:.4g}]; bring it to [0,1], or see signed_to_unit"
        )
    return np.clip(array, 0, 1)
