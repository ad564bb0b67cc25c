"""A map over its image, as torchcam draws it."""

import numpy as np
from PIL import Image

from camport.errors import InputError
from camport.view import apply_colormap


def overlay_mask(
    img: Image.Image, mask: Image.Image, colormap: str = "jet", alpha: float = 0.7
) -> Image.Image:
    """The image beside the colours of the squared map, everywhere with the same weights.

    `Explanation.overlay` keeps the image where the map is cold instead.

    Args:
        img: the photograph.
        mask: the map in [0,1], mode F, of any size.
        colormap: one of camport.view.COLORMAPS.
        alpha: weight of the image, at least 0 and below 1.

    Raises:
        InputError: no PIL images, or a weight out of range.
        UnknownNameError: no such colormap.
    """
    if not isinstance(img, Image.Image) or not isinstance(mask, Image.Image):
        raise InputError(
            f"img is {type(img).__name__} and mask {type(mask).__name__}; give two PIL images"
        )
    if not 0 <= alpha < 1:
        raise InputError(f"alpha is {alpha}; give the image's weight, at least 0 and below 1")
    heat = np.asarray(mask.resize(img.size, Image.Resampling.BICUBIC), np.float32)
    unit = np.clip(heat / np.float32(255 if mask.mode == "L" else 1), 0, 1)
    colours = Image.fromarray(apply_colormap(unit**2, colormap))
    return Image.blend(colours, img.convert("RGB"), alpha)
