"""The detections' part of `camport demo`: every detection of a scene with the map that explains
it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL.Image import Image

import camport
from camport.models import load_model
from camport.view import Box, Cell, grid, overlay

COLOURS = ("#00e5ff", "#ffd400", "#ff5ca8", "#7dff5c", "#ff9440")


def why_is_it_there(pictures: Sequence[Image]) -> Image:
    """A row a scene: what the shipped detector finds, then each detection with its map,
    best first."""
    loaded = load_model("demo:detector")
    bound = camport.bind(loaded.model, adapter=loaded.adapter)
    rows = []
    for picture in pictures:
        pixels, placement = loaded.preprocess.apply(picture)
        found = bound(torch.from_numpy(pixels)[None])
        boxes = placement.boxes_to_image(np.asarray(found.figures["boxes"]))
        said = [
            f"{loaded.labels[label]} {confidence:.2f}"
            for label, confidence in zip(
                found.target.tolist(), found.figures["confidence"].tolist(), strict=True
            )
        ]
        drawn = [
            Box(tuple(box), text, colour)
            for box, text, colour in zip(boxes.tolist(), said, COLOURS, strict=False)
        ]
        row = [Cell(picture, "", drawn)]
        for heatmap, box, text in zip(found.heatmap.numpy(), drawn, said, strict=False):
            hot = overlay(picture, placement.to_image(heatmap), alpha=0.6)
            row.append(Cell(hot, text, [Box(box.xyxy, "", box.colour)]))
        rows.append(row)
    title = f"{bound.explainer.title} of a detector: each box has a map of its own"
    return grid(rows, title=title, colorbar="turbo")
