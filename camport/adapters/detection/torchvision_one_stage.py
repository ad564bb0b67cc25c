"""One-stage detectors as torchvision builds them: the head's numbers of every anchor,
before anything is dropped.

Called as a whole such a model returns what is left after suppression, whose path to the class
logits is cut. Its parts are used instead, known by their names and not by any class: `transform`,
`backbone`, `head`, `anchor_generator`, `box_coder`. The images are normalised, resized and padded
inside, as the model does it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from camport.core.maps.geometry import Frame

PARTS = ("transform", "backbone", "head", "anchor_generator", "box_coder")


def is_one_stage(model: nn.Module) -> bool:
    """Whether the model has the parts."""
    return all(hasattr(model, name) for name in PARTS) and hasattr(model.transform, "image_mean")


def call(
    model: Any, images: Tensor, target: Mapping[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """boxes [b,n,4] in pixels of `images`, logits and confidence [b,n,k] of all anchors."""
    frame, inputs = framed(model.transform, images)
    features = _listed(model.backbone(inputs))
    said = model.head(features)
    one = SimpleNamespace(tensors=inputs[:1], image_sizes=[(inputs.shape[-2], inputs.shape[-1])])
    # the same for every image of the batch
    anchors = model.anchor_generator(one, features)[0].to(inputs)
    boxes = frame.boxes_to_image(decoded(model.box_coder, said["bbox_regression"], anchors))
    logits = said["cls_logits"]
    if "bbox_ctrness" in said:
        confidence = (logits.sigmoid() * said["bbox_ctrness"].sigmoid()).sqrt()
    elif has_background(model):
        confidence = logits.softmax(2)
    else:
        confidence = logits.sigmoid()
    return {"boxes": boxes, "logits": logits, "confidence": confidence}


def has_background(model: nn.Module) -> bool:
    """Whether probabilities are a softmax over classes, the first of which is "no object": SSD,
    told by its anchors' widths and heights, which are relative to the image; the others are trained
    on each class for itself.
    """
    return hasattr(getattr(model, "anchor_generator", None), "_wh_pairs")


def placed(model: nn.Module, size: tuple[int, int]) -> Frame | None:
    """Where images of `size` lie in the frame that the model makes inside;
    None where it makes none."""
    transform: Any = getattr(model, "transform", None)
    if not hasattr(transform, "image_mean"):
        return None
    height, width = size
    if transform.fixed_size is not None:
        resized = (transform.fixed_size[1], transform.fixed_size[0])
    else:
        scale = min(transform.min_size[-1] / min(size), transform.max_size / max(size))
        resized = (math.floor(height * scale), math.floor(width * scale))
    step = transform.size_divisible
    network = (-(-resized[0] // step) * step, -(-resized[1] // step) * step)
    return Frame(size, network, resized)


def framed(transform: Any, images: Tensor) -> tuple[Frame, Tensor]:
    """The images as the backbone takes them, normalised,
    resized and padded at the right and below."""
    frame = placed(SimpleNamespace(transform=transform), (images.shape[-2], images.shape[-1]))  # type: ignore[arg-type]
    assert frame is not None
    mean, std = (_row(values, images) for values in (transform.image_mean, transform.image_std))
    inputs = (images - mean) / std
    if frame.resized != frame.image:
        inputs = F.interpolate(inputs, size=frame.resized, mode="bilinear", align_corners=False)
    below, right = (n - r for n, r in zip(frame.network, frame.resized, strict=True))
    return frame, F.pad(inputs, (0, right, 0, below)) if below or right else inputs


def decoded(coder: Any, codes: Tensor, anchors: Tensor) -> Tensor:
    """Boxes [b,n,4] of the head's numbers [b,n,4] for anchors [n,4]."""
    size = anchors[:, 2:] - anchors[:, :2]
    centre = (anchors[:, :2] + anchors[:, 2:]) / 2
    if not hasattr(coder, "weights"):  # distances of the sides from the centre
        if coder.normalize_by_size:
            codes = codes * torch.cat([size, size], 1)
        return torch.cat([centre - codes[..., :2], centre + codes[..., 2:]], -1)
    wx, wy, ww, wh = coder.weights
    moved = torch.stack([codes[..., 0] / wx, codes[..., 1] / wy], -1) * size + centre
    grown = (
        torch.stack([codes[..., 2] / ww, codes[..., 3] / wh], -1)
        .clamp(max=coder.bbox_xform_clip)
        .exp()
        * size
    )
    return torch.cat([moved - grown / 2, moved + grown / 2], -1)


def _listed(features: Any) -> list[Tensor]:
    if isinstance(features, Mapping):
        return list(features.values())
    return [features] if isinstance(features, Tensor) else list(features)


def _row(values: list[float], like: Tensor) -> Tensor:
    ones = torch.ones_like(like[:1, :1, :1, :1])
    return torch.cat([ones * value for value in values], 1)
