"""A heatmap over its image: where it is hot one sees colour,
where it is cold one sees the image."""

import numpy as np
from PIL import Image

from camport.errors import InputError
from camport.view.colormaps import DIVERGING, apply_colormap, colormap_table
from camport.view.pictures import ImageLike, to_pixels, to_unit_map

FADE = 0.6
"""How much of its own colour the image loses."""
LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


def overlay(
    image: ImageLike,
    heatmap: np.ndarray,
    *,
    alpha: float = 0.5,
    colormap: str = "turbo",
    fade: float | None = None,
    uniform: bool = False,
) -> Image.Image:
    """The image with the heatmap's colours laid over it, as an RGB picture of the image's size.

    The colours' weight grows with the heat, so that cold regions show the image itself instead of a
    blue film; the image loses some of its own colour, so that what is coloured is heat.

    Args:
        image: PIL, uint8 [H,W,3], or float [H,W,3] or [3,H,W] in [0,1].
        heatmap: [H,W] in [0,1], of the image's size. For a diverging colormap, heat is the distance
            from 0.5.
        alpha: weight of the colours where the map is hottest, 0 to 1.
        colormap: one of COLORMAPS.
        fade: how much of its own colour the image loses, 0 (none) to 1 (all). None: 0.6, or all of
            it under the paler colours of a diverging colormap.
        uniform: the same weight everywhere, as older figures have it.

    Raises:
        InputError: sizes that differ, values out of range.
        UnknownNameError: no such colormap.
    """
    colormap_table(colormap)
    diverging = colormap in DIVERGING
    fade = (1.0 if diverging else FADE) if fade is None else fade
    for name, value in (("alpha", alpha), ("fade", fade)):
        if not 0 <= value <= 1:
            raise InputError(f"{name} is {value}; give 0 to 1")
    pixels, heat = to_pixels(image).astype(np.float32), to_unit_map(heatmap)
    if heat.shape != pixels.shape[:2]:
        raise InputError(
            f"heatmap is {list(heat.shape)}, the image {list(pixels.shape[:2])} (height, width): "
            "bring the map to the image's size, e.g. with placement.to_image(heatmap)"
        )
    strength = np.abs(2 * heat - 1) if diverging else heat
    # the root brings medium heat up: proportional weight lets all but the peak vanish in a busy
    # photograph
    weight = np.full_like(heat, alpha) if uniform else alpha * np.sqrt(strength)
    grey = (pixels @ LUMA)[..., None]
    base = pixels + (grey - pixels) * fade
    mixed = base + (apply_colormap(heat, colormap) - base) * weight[..., None]
    return Image.fromarray(np.rint(np.clip(mixed, 0, 255)).astype(np.uint8))
