"""supervision: detections with their maps, for its annotators, trackers and writers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from camport.bridges.packages import package
from camport.errors import InputError
from camport.runtime import Detections

if TYPE_CHECKING:
    from camport.core import Explanation


def detections(
    found: Explanation | Detections,
    maps: np.ndarray | None = None,
    *,
    image: int = 0,
    labels: Sequence[str] | None = None,
    mask_above: float | None = None,
) -> Any:
    """`supervision.Detections` of one image, with `data["heatmap"]` [k,H,W] in [0,1].

    Args:
        found: an explanation of the detection adapter, or `camport.runtime.detections` of a file's
            run.
        maps: of the latter, the heatmaps [k,H,W].
        image: which image of an explanation of several.
        labels: class names, put into `data["class_name"]`.
        mask_above: from which heat on a place belongs to `mask`; None makes no masks.

    Raises:
        InputError: an explanation of another task, or maps of another number than the detections.
        MissingDependencyError: supervision is not installed.
    """
    sv = package("supervision", "supervision")
    if isinstance(found, Detections):
        boxes, classes, confidence = found.boxes, found.class_ids, found.confidence
        heat = np.zeros(0) if maps is None else np.asarray(maps)
    else:
        told = {name: value.detach().cpu().numpy() for name, value in found.figures.items()}
        if "boxes" not in told or "confidence" not in told:
            what = f"the explanation by {found.method} has no boxes"
            raise InputError(f"{what}; explain with adapter='detection'")
        rows = told["image"] == image if "image" in told else np.ones(len(told["boxes"]), bool)
        names = ("boxes", "class_ids", "confidence")
        boxes, classes, confidence = (told[name][rows] for name in names)
        heat = found.heatmap.detach().cpu().numpy()[rows]
    if len(heat) != len(boxes):
        what = f"{len(heat)} maps for {len(boxes)} detections"
        raise InputError(f"{what}; give maps [k,H,W], one a detection")
    data: dict[str, Any] = {"heatmap": heat}
    if labels is not None:
        data["class_name"] = np.array([labels[c] for c in classes])
    mask = None if mask_above is None else heat >= mask_above
    return sv.Detections(boxes, mask, confidence, class_id=classes.astype(int), data=data)
