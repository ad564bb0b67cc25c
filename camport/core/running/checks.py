"""What a user hands in, refused in one clear sentence where it cannot be explained."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from camport.core.running.chunk_size import within_memory
from camport.errors import InputError, ModelError

FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
"""The types of images."""


def check_images(images: Any, model: nn.Module) -> Tensor:
    """`images` as [b,c,H,W] of the model's floating-point type; InputError names shape,
    value and remedy."""
    if not isinstance(images, Tensor):
        several = isinstance(images, list | tuple | Mapping) and len(images) > 1
        remedy = (
            "stack pictures of one size by torch.stack(images); a model of several inputs is"
            " explained inside a module that hands it the others"
            if several
            else "try torch.as_tensor(images)"
        )
        raise InputError(
            f"images are {type(images).__name__}, not a torch.Tensor [b,c,H,W]; {remedy}"
        )
    if images.layout != torch.strided or images.is_nested:
        kind = "nested" if images.is_nested else str(images.layout).removeprefix("torch.")
        raise InputError(
            f"images are a {kind} tensor; wanted a dense one: images.to_dense(), or a batch of one"
            " size"
        )
    shape = tuple(images.shape)
    if images.dim() != 4:
        raise InputError(
            f"images have shape {shape}, rank {images.dim()}; wanted [b,c,H,W]:"
            f" {_remedy(images, model)}"
        )
    if 0 in shape:
        raise InputError(f"images have shape {shape}: nothing to explain in an empty batch")
    if not images.is_floating_point():
        kind = str(images.dtype).removeprefix("torch.")
        raise InputError(
            f"images are {kind}, wanted floating point as the model was trained on: "
            "scale to [0,1] by images.float() / 255, then normalise with the model's mean and std"
        )
    if images.dtype not in FLOATS:
        kind = str(images.dtype).removeprefix("torch.")
        raise InputError(
            f"images are {kind}; wanted float32, float64, float16 or bfloat16: images.float()"
        )
    if images.device.type == "meta":
        raise InputError("images are on the meta device and have no values")
    with within_memory(images):
        finite = bool(images.sum().isfinite())
    if not finite:  # in a tenth of the time of looking at each; a sum may also be too large
        bad = (~torch.isfinite(images)).flatten(1).sum(1)
        if bool(bad.any()):
            first = int(bad.nonzero()[0])
            raise InputError(
                f"image {first} of {shape[0]} has {int(bad[first])} values that are NaN or"
                " infinite; mend or drop it"
            )
    like = _reference(model)
    if like is not None and like.device != images.device:
        check_initialised(model)
        raise InputError(
            f"images are on {images.device}, the model is on {like.device}:"
            f" images.to({str(like.device)!r})"
        )
    if (
        like is not None
        and like.dtype != images.dtype
        and not torch.is_autocast_enabled(images.device.type)
    ):
        images = images.to(like.dtype)
    return images.clone() if images.is_inference() else images.detach()


def check_initialised(model: nn.Module) -> None:
    """ModelError for parameters that wait for a first call to know their shape,
    or that have no values at all."""
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if isinstance(tensor, UninitializedParameter | UninitializedBuffer):
            raise ModelError(
                f"{name!r} has no shape before the model's first call; call it once: model(images)"
            )
        if tensor.device.type == "meta":
            raise ModelError(
                f"{name!r} is on the meta device and has no values; load the model's weights"
            )


def _reference(model: nn.Module) -> Tensor | None:
    """The parameter whose type and device the images need: the first kernel of a convolution,
    else the first weight.

    The first parameter says less: a scale, a class token, a norm may be float32 in a model of half
    precision.
    """
    first: dict[bool, Tensor] = {}
    for parameter in model.parameters():
        if not parameter.is_floating_point():
            continue
        # a parameter that is not initialised has no number of axes either
        rank = 0 if isinstance(parameter, UninitializedParameter) else parameter.dim()
        if rank == 4:
            return parameter
        first.setdefault(rank == 2, parameter)
    return first.get(True, first.get(False))


def _remedy(images: Tensor, model: nn.Module) -> str:
    """What to do with images that are not [b,c,H,W]."""
    rank, taken = (
        images.dim(),
        [m for m in model.modules() if isinstance(m, nn.modules.conv._ConvNd)],
    )
    one = "images[None] makes a batch of one image [c,H,W]"
    signal = (
        "a batch of signals [b,c,L] is explained as images one pixel high, images[:, :, None],"
        " through a module whose forward hands x[:, :, 0] to the model"
    )
    if rank == 3 and taken:
        return signal if isinstance(taken[0], nn.Conv1d) else one
    if rank == 3:
        return f"{one}; {signal}"
    if rank == 2:
        return "images[None, None] makes a batch of one image with one channel [H,W]"
    if rank == 5:
        return (
            "volumes [b,c,D,H,W] and videos [b,t,c,H,W] are not read; explain one slice or frame at"
            " a time, through a module that takes [b,c,H,W]"
        )
    return "no layout of this rank is read"
