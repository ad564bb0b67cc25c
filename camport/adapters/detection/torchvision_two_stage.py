"""Two-stage detectors as torchvision builds them:
the user's box goes straight into the second stage.

The first stage proposes boxes; the second cuts each out of the feature maps, says what is in it and
corrects it. Asked about a box, the second stage alone is needed, and the class logit is that of
this very box. Parts are known by their
names: `transform`, `backbone`, `rpn`, `roi_heads`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from camport.adapters.detection.torchvision_one_stage import framed
from camport.core.maps.loop import traced

PARTS = ("transform", "backbone", "rpn", "roi_heads")


def is_two_stage(model: nn.Module) -> bool:
    """Whether the model has the parts."""
    return all(hasattr(model, name) for name in PARTS)


def call(
    model: Any, images: Tensor, target: Mapping[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """boxes [b,n,4] in pixels of `images`, logits and confidence [b,n,k] of the boxes asked about.

    Where no box is asked about, of the model's own detections; there `images` is one image,
    and nothing is traced.
    """
    frame, inputs = framed(model.transform, images)
    features = model.backbone(inputs)
    features = {"0": features} if isinstance(features, Tensor) else features
    size = (inputs.shape[-2], inputs.shape[-1])
    asked = None if target is None else target["boxes"]
    if asked is None or (not traced() and not bool((asked[:, 2:] > asked[:, :2]).all())):
        boxes = _detections(model, inputs, features, frame.resized)
    else:
        boxes = frame.to_network(asked.to(inputs.dtype))
    per_image = boxes[None] if images.shape[0] == 1 else boxes[:, None]
    logits = box_logits(model.roi_heads, features, per_image, size)
    return {
        "boxes": frame.boxes_to_image(per_image),
        "logits": logits,
        "confidence": logits.softmax(2),
    }


def box_logits(
    heads: Any, features: Mapping[str, Tensor], boxes: Tensor, size: tuple[int, int]
) -> Tensor:
    """Class logits [b,n,k] of boxes [b,n,4] in the frame, which is of `size`."""
    pool = heads.box_roi_pool
    maps = [features[name] for name in pool.featmap_names if name in features]
    flat = pooled(maps, boxes, size, pool)
    logits, _ = heads.box_predictor(heads.box_head(flat))
    return logits.unflatten(0, boxes.shape[:2])


def pooled(maps: Sequence[Tensor], boxes: Tensor, size: tuple[int, int], pool: Any) -> Tensor:
    """What RoIAlign cuts out of the level that fits each box's size, [b*n,c,s,s].

    Its sampling points stand on a grid, so each of them is a row of an interpolation matrix times a
    column of another: products, which have a gradient in every engine.
    """
    out, samples = pool.output_size, pool.sampling_ratio
    scales = [2.0 ** round(math.log2(m.shape[-1] / size[1])) for m in maps]
    sides = (boxes[..., 2:] - boxes[..., :2]).clamp_min(1e-6)
    level = (
        pool.canonical_level + (sides.prod(-1).sqrt() / pool.canonical_scale).log2() + 1e-6
    ).floor()
    lowest, highest = (-math.log2(scale) for scale in (scales[0], scales[-1]))
    # counted from the first map: two of one scale may follow each other
    level = level.clamp(lowest, highest) - lowest
    found = []
    for i, (m, scale) in enumerate(zip(maps, scales, strict=True)):
        rows = _weights(boxes[..., 1], boxes[..., 3], scale, m.shape[2], out[0], samples)
        columns = _weights(boxes[..., 0], boxes[..., 2], scale, m.shape[3], out[1], samples)
        cut = rows[:, :, None] @ m[:, None] @ columns[:, :, None].transpose(-1, -2)
        mine = (level == i).to(m.dtype)
        found.append(cut * mine[:, :, None, None, None])
    return torch.stack(found).sum(0).flatten(0, 1)


def _weights(
    low: Tensor, high: Tensor, scale: float, cells: int, bins: int, samples: int
) -> Tensor:
    """Of one axis, how much each cell counts in each bin, [b,n,bins,cells]:
    the mean over a bin's sampling points.

    A point between the centres of two cells takes from both; outside the map it takes the border's
    value, and none where it is more than a cell away.
    """
    start = low * scale
    length = (high * scale - start).clamp_min(1.0) / bins
    steps = (torch.arange(bins * samples, device=low.device).to(low.dtype) + 0.5) / samples
    at = start[..., None] + length[..., None] * steps
    counted = ((at >= -1) & (at <= cells)).to(low.dtype)
    at = at.clamp(0, cells - 1)
    places = torch.arange(cells, device=low.device).to(low.dtype)
    near = (1 - (at[..., None] - places).abs()).relu() * counted[..., None]
    return near.unflatten(-2, (bins, samples)).mean(-2)


@torch.no_grad()
def _detections(
    model: Any, inputs: Tensor, features: Mapping[str, Tensor], resized: tuple[int, int]
) -> Tensor:
    """The model's own detections in the frame, [n,4], best first;
    the best proposal where it finds nothing."""
    sizes = [resized] * inputs.shape[0]
    proposals, _ = model.rpn(
        SimpleNamespace(tensors=inputs, image_sizes=sizes), dict(features), None
    )
    boxes = []
    for i in range(inputs.shape[0]):
        own = {name: value[i : i + 1] for name, value in features.items()}
        found, _ = model.roi_heads(own, proposals[i : i + 1], sizes[i : i + 1], None)
        best = found[0]["boxes"] if len(found[0]["boxes"]) else proposals[i][:1]
        boxes.append(best if inputs.shape[0] == 1 else best[:1])
    return torch.cat(boxes)
