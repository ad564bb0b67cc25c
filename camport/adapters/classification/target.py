"""What of a classifier is explained, as tensors with a row for each image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from camport.core.maps.loop import traced
from camport.errors import InputError, ModelError


def prepared(score_as: str, target: Any, images: Tensor) -> dict[str, Tensor]:
    """The target as int64 [b], or weights as [b,k]; InputError for what is neither."""
    b, device = images.shape[0], images.device
    if score_as == "weighted_sum":
        if target is None:
            raise InputError("a weighted sum needs its weights as the target: float [k] or [b,k]")
        try:
            weights = torch.as_tensor(target, dtype=images.dtype, device=device)
        except (TypeError, ValueError, RuntimeError) as error:
            raise InputError(
                f"weights {target!r} are no numbers; give float [k] or [b,k]"
            ) from error
        if not bool(weights.isfinite().all()):
            raise InputError(
                "weights have values that are NaN or infinite; give finite numbers, [k] or [b,k]"
            )
        weights = weights.expand(b, -1) if weights.dim() == 1 else weights
        if weights.dim() != 2 or weights.shape[0] != b:
            raise InputError(
                f"weights have shape {tuple(weights.shape)}; wanted [k] or [b,k] with b = {b}"
            )
        return {"weights": weights.clone()}
    if target is None:
        target = 0 if score_as == "regression" else -1
    try:
        classes = torch.as_tensor(target, device=device)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"target {target!r} is not a class; give an int, int64 [b] or None"
        ) from error
    if classes.is_floating_point() or classes.is_complex() or classes.dtype == torch.bool:
        raise InputError(
            f"target has dtype {str(classes.dtype).removeprefix('torch.')}; classes are int64"
        )
    if classes.dim() > 1 or (classes.dim() == 1 and classes.shape[0] != b):
        raise InputError(
            f"target has shape {tuple(classes.shape)}; wanted one class, or [b] with b = {b}"
        )
    classes = classes.to(torch.int64)  # uint8 has no number below zero to compare with
    if bool((classes < -1).any()):
        raise InputError(
            f"target {int(classes.min())} is out of range; classes are 0 and up, -1 is the top"
            " class"
        )
    return {"target": classes.expand(b).clone()}


def check_row_each(z: Tensor, target: Mapping[str, Tensor]) -> None:
    """ModelError where outputs have another first axis than the images:
    a product would spread one row over all."""
    b = next(iter(target.values())).shape[0]
    if not traced() and z.shape[0] != b:
        raise ModelError(
            f"the model gives {z.shape[0]} row{'s' * (z.shape[0] != 1)} of classes,"
            f" {tuple(z.shape)}, for {b} image{'s' * (b != 1)}: the first axis of its outputs is"
            " not that of the images. A model of bags or frames is explained one image a call, or"
            " through a wrapper whose outputs have a row an image"
        )
