"""Pictures in and out, as grad-cam has them; neither OpenCV nor torchvision is needed."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from camport.errors import InputError
from camport.view import apply_colormap

if TYPE_CHECKING:
    from torch import Tensor

COLORMAPS = {2: "jet", 14: "inferno", 16: "viridis", 20: "turbo"}
"""OpenCV's numbers of the colormaps that are there, `cv2.COLORMAP_JET` the first."""


def preprocess_image(
    img: Float[np.ndarray, "H W 3"],
    mean: Sequence[float] = (0.5, 0.5, 0.5),
    std: Sequence[float] = (0.5, 0.5, 0.5),
) -> "Tensor":
    """An image in [0,1], or uint8, as a float32 tensor [1,3,H,W]: (image - mean) / std."""
    import torch

    unit = img.astype(np.float32) / 255 if img.dtype == np.uint8 else img.astype(np.float32)
    normed = (unit - np.asarray(mean, np.float32)) / np.asarray(std, np.float32)
    return torch.from_numpy(np.ascontiguousarray(normed.transpose(2, 0, 1)[None]))


def deprocess_image(img: np.ndarray) -> np.ndarray:
    """A signed picture as uint8: its mean at mid-grey,
    ten standard deviations from black to white."""
    spread = (img - img.mean()) / (img.std() + 1e-5) * 0.1 + 0.5
    return (np.clip(spread, 0, 1) * 255).astype(np.uint8)


def show_cam_on_image(
    img: Float[np.ndarray, "H W 3"],
    mask: Float[np.ndarray, "H W"],
    use_rgb: bool = False,
    colormap: int | str = 2,
    image_weight: float = 0.5,
) -> UInt8[np.ndarray, "H W 3"]:
    """The colours of a map over its image, brightened until the brightest value is white.

    `Explanation.overlay` keeps the image where the map is cold instead.

    Args:
        img: in [0,1].
        mask: in [0,1], of the image's size.
        use_rgb: whether the image's channels are red, green, blue; blue, green, red otherwise,
            as OpenCV reads files.
        colormap: one of camport's names, or OpenCV's number of it.
        image_weight: of the image, beside that of the colours.

    Raises:
        InputError: values out of range, or a colormap of OpenCV's that is not there.
        UnknownNameError: no such name.
    """
    if img.max() > 1 or not 0 <= image_weight <= 1:
        raise InputError(
            f"img reaches {img.max():g} and image_weight is {image_weight}; give the image as"
            " floats in [0,1], img / 255, and a weight from 0 to 1"
        )
    if isinstance(colormap, int) and colormap not in COLORMAPS:
        known = ", ".join(f"{number} ({name})" for number, name in COLORMAPS.items())
        raise InputError(
            f"colormap is OpenCV's number {colormap}; there is {known}, or a name of"
            " camport.view.COLORMAPS"
        )
    colours = apply_colormap(
        mask, COLORMAPS[colormap] if isinstance(colormap, int) else colormap
    ) / np.float32(255)
    shown = (1 - image_weight) * (colours if use_rgb else colours[..., ::-1]) + image_weight * img
    return (255 * (shown / shown.max())).astype(np.uint8)


def scale_cam_image(
    cam: Float[np.ndarray, "b h w"], target_size: tuple[int, int] | None = None
) -> Float[np.ndarray, "b H W"]:
    """Each map from its minimum to its maximum in [0,1], 0 where it is flat.

    Args:
        cam: maps.
        target_size: (width, height), as OpenCV's; None leaves them.
    """
    maps = np.asarray(cam, np.float32)
    low, high = (limit(axis=(1, 2), keepdims=True) for limit in (maps.min, maps.max))
    scaled = (maps - low) / np.where(high > low, high - low, 1)
    if target_size is None:
        return scaled
    return np.stack(
        [
            np.asarray(Image.fromarray(m).resize(target_size, Image.Resampling.BILINEAR))
            for m in scaled
        ]
    )
