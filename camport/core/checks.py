"""What a user hands in, refused in one clear sentence where it cannot be explained."""

from typing import Any

import torch
from torch import Tensor, nn

from camport.errors import InputError


def check_images(images: Any, model: nn.Module) -> Tensor:
    """`images` as [b,c,H,W] of the model's floating-point type; InputError names shape, value and remedy."""
    if not isinstance(images, Tensor):
        raise InputError(
            f"images are {type(images).__name__}, not a torch.Tensor [b,c,H,W]; try torch.as_tensor(images)"
        )
    shape = tuple(images.shape)
    if images.dim() != 4:
        remedy = "images[None] makes a batch of it" if images.dim() == 3 else "stack images to one batch"
        raise InputError(f"images have shape {shape}, rank {images.dim()}; wanted [b,c,H,W]: {remedy}")
    if 0 in shape:
        raise InputError(f"images have shape {shape}: nothing to explain in an empty batch")
    if not images.is_floating_point():
        kind = str(images.dtype).removeprefix("torch.")
        raise InputError(
            f"images are {kind}, wanted floating point as the model was trained on: "
            "scale to [0,1] by images.float() / 255, then normalise with the model's mean and std"
        )
    if not bool(images.sum().isfinite()):  # in a tenth of the time of looking at each; a sum may also be too large
        bad = (~torch.isfinite(images)).flatten(1).sum(1)
        if bool(bad.any()):
            first = int(bad.nonzero()[0])
            raise InputError(
                f"image {first} of {shape[0]} has {int(bad[first])} values that are NaN or infinite; mend or drop it"
            )
    like = next((p for p in model.parameters() if p.is_floating_point()), None)
    if like is not None and like.device != images.device:
        raise InputError(
            f"images are on {images.device}, the model is on {like.device}: images.to({str(like.device)!r})"
        )
    if like is not None and like.dtype != images.dtype and not torch.is_autocast_enabled(images.device.type):
        images = images.to(like.dtype)
    return images.clone() if images.is_inference() else images.detach()
