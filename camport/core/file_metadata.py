"""What an exported file says of itself: its method, layer, adapter and preprocessing."""

from __future__ import annotations

import json
from typing import Any

from torch import Tensor

from camport.targets import described
from camport.version import __version__

STATED = {"mean", "std", "scale", "in_graph"}
"""Fields of a preprocessing that say what is done to pixels."""


def file_metadata(bound: Any, images: Tensor, classes: int | None) -> dict[str, str]:
    """The `camport.*` properties of an exported file.

    Args:
        bound: a `Bound` that has run.
        images: [b,c,H,W], of the size that is exported.
        classes: how many the model has; None where that says nothing.
    """
    method = {
        "name": bound.explainer.name,
        "family": bound.explainer.family,
        "options": bound.explainer.options(),
    }
    adapter = {"name": bound.adapter.name, "options": bound.adapter.options()}
    preprocess = bound.preprocess or {"size": [images.shape[-2], images.shape[-1]]}
    if images.shape[1] != 3 and not {"mean", "std"} & set(preprocess):
        preprocess = {
            **preprocess,
            "mean": [0.0] * images.shape[1],
            "std": [1.0] * images.shape[1],
        }
    found = {
        "camport.version": __version__,
        "camport.method": json.dumps(method),
        "camport.layer": json.dumps(list(bound.layers or ())),
        "camport.adapter": json.dumps(adapter),
        "camport.preprocess": json.dumps(dict(preprocess)),
    }
    if not STATED & set(bound.preprocess or {}):
        found["camport.guessed"] = "preprocess"  # pixels / 255, for want of anything better
    if classes is not None:
        found["camport.classes"] = str(classes)
    if bound.adapter.fields:
        found["camport.target"] = json.dumps(described(bound.adapter.fields))
    if bound.labels:
        found["camport.labels"] = json.dumps(list(bound.labels))
    return found
