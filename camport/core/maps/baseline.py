"""Images that say nothing: where integrated gradients begin, and what occlusion covers with."""

import math
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from camport.errors import InputError

Drawn = Literal["blurred", "mean"]
"""Made of each image: its Gaussian blur, or its mean colour."""

Baseline = float | tuple[float, ...] | Tensor | Drawn
"""A value of all pixels, a value a channel, a tensor that broadcasts to [b,c,H,W],
or a word of `Drawn`.

Values are as the model takes its images: 0 is black, or the mean colour where images are
normalised.
"""

KERNEL, SIGMA = 51, 50.0
"""The blur's kernel and standard deviation in pixels, those of Group-CAM's authors."""


def check_baseline(value: Any, name: str) -> None:
    """InputError for what no image could make a baseline, where a method is made;
    `name` is the option's."""
    if isinstance(value, str):
        if value not in get_args(Drawn):
            raise InputError(
                f"{name} is {value!r}; a word is one of {', '.join(map(repr, get_args(Drawn)))}"
            )
    elif isinstance(value, Tensor):
        if not value.is_floating_point() or not bool(value.isfinite().all()):
            raise InputError(
                f"{name} is a tensor {tuple(value.shape)}; wanted finite floating-point values"
            )
    else:
        values = value if isinstance(value, tuple | list) else (value,)
        if not values or not all(isinstance(v, int | float) and math.isfinite(v) for v in values):
            raise InputError(
                f"{name} is {value!r}; wanted a finite number, one a channel, a tensor [c,H,W],"
                " 'blurred' or 'mean'"
            )


def check_fits(value: Baseline, images: Float[Tensor, "b c H W"], name: str) -> None:
    """InputError for a baseline of other channels or another size than the images."""
    shape = tuple(images.shape)
    if isinstance(value, tuple | list) and len(value) not in (1, shape[1]):
        raise InputError(
            f"{name} has {len(value)} values, the images {shape[1]} channels; give one value a"
            " channel"
        )
    if isinstance(value, Tensor):
        fits = value.dim() <= 4 and all(
            n in (1, m) for n, m in zip(reversed(value.shape), reversed(shape), strict=False)
        )
        if not fits:
            raise InputError(
                f"{name} has shape {tuple(value.shape)}, the images {shape}; give [c,1,1], [c,H,W]"
                " or [b,c,H,W]"
            )


def baseline(value: Baseline, images: Float[Tensor, "b c H W"]) -> Float[Tensor, "b c H W"]:
    """The baseline of each image, at the images' size and type."""
    if isinstance(value, str):
        if value == "mean":
            return images.mean((2, 3), keepdim=True).expand_as(images)
        return blur(images, KERNEL, SIGMA)
    if isinstance(value, Tensor):
        return value.detach().to(images.device, images.dtype).expand_as(images)
    if isinstance(value, tuple | list):
        channels = torch.tensor(value, dtype=torch.float64).to(images.device, images.dtype)
        return channels[:, None, None].expand_as(images)
    return torch.full_like(images, value)


def blur(images: Float[Tensor, "b c H W"], kernel: int, sigma: float) -> Float[Tensor, "b c H W"]:
    """A Gaussian blur, the image mirrored at its edges; the kernel no wider than that allows."""
    for axis in (2, 3):
        radius = min(kernel // 2, images.shape[axis] - 1)
        places = torch.arange(-radius, radius + 1, device=images.device, dtype=images.dtype)
        weights = torch.exp(-(places**2) / (2 * sigma**2))
        weights = (weights / weights.sum()).reshape(1, 1, *((-1, 1) if axis == 2 else (1, -1)))
        room = (0, 0, radius, radius) if axis == 2 else (radius, radius, 0, 0)
        b, c = images.shape[:2]
        padded = F.pad(images, room, mode="reflect")
        images = F.conv2d(padded.flatten(0, 1)[:, None], weights)[:, 0].unflatten(0, (b, c))
    return images
