"""The part of `camport demo` about captions, questions and segmentations: a map for each word,
answer and region."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL.Image import Image, fromarray

import camport
from camport.adapters.text.words import explain_words
from camport.core.bound import Bound
from camport.demo.scenes import LABELS, PLURALS
from camport.models import Loaded, load_model
from camport.runtime import Placement
from camport.view import Box, Cell, grid, overlay

QUESTIONS = (
    "is there {article} {label}?",
    "how many {plural}?",
    "which digit is leftmost?",
    "which digit is rightmost?",
)
"""What is asked about every scene, two about one of its digits."""

COLOURS = (
    "#e6194b",
    "#3cb44b",
    "#ffe119",
    "#4363d8",
    "#f58231",
    "#911eb4",
    "#42d4f4",
    "#f032e6",
    "#bfef45",
    "#fabed4",
)
"""A colour for each digit in a drawn segmentation."""


def words(pictures: Sequence[Image]) -> Image:
    """A row a scene: what the captioner writes about it,
    and the scene once more for every word with its map."""
    loaded = load_model("demo:captioner")
    bound = _bound(loaded)
    rows = []
    for picture in pictures:
        pixels, placement = loaded.preprocess.apply(picture)
        found = explain_words(bound, torch.from_numpy(pixels))
        row = [Cell(picture, found.caption)]
        for word, heatmap in zip(found.words, found.explanation.heatmap, strict=True):
            row.append(Cell(_hot(picture, heatmap, placement), word.text))
        rows.append(row)
    title = f"{bound.explainer.title} of a captioner: what in the image each word comes from"
    return grid(rows, title=title, colorbar="turbo")


def answers(pictures: Sequence[Image], digits: Sequence[Sequence[int]]) -> Image:
    """A row a scene: each question about it with the answer,
    and what in the image the answer comes from."""
    loaded = load_model("demo:answerer")
    bound = _bound(loaded)
    rows = []
    for i, (picture, labels) in enumerate(zip(pictures, digits, strict=True)):
        pixels, placement = loaded.preprocess.apply(picture)
        digit = labels[i % len(labels)]
        names = {
            "label": LABELS[digit],
            "plural": PLURALS[digit],
            "article": "an" if LABELS[digit] == "eight" else "a",
        }
        row = [Cell(picture)]
        for question in (text.format(**names) for text in QUESTIONS):
            found = bound(torch.from_numpy(pixels)[None], question)
            answer = loaded.labels[int(found.target[0])]
            row.append(Cell(_hot(picture, found.heatmap[0], placement), f"{question} {answer}"))
        rows.append(row)
    title = (
        f"{bound.explainer.title} of a question answerer: what in the image the answer comes from"
    )
    return grid(rows, title=title, colorbar="turbo")


def segments(pictures: Sequence[Image], asked: Sequence[Sequence[int]]) -> Image:
    """A row a scene: the classes of its pixels in colour,
    and for each digit asked about what makes its region one."""
    loaded = load_model("demo:segmenter")
    bound = _bound(loaded)
    rows = []
    for picture, digits in zip(pictures, asked, strict=True):
        pixels, placement = loaded.preprocess.apply(picture)
        images = torch.from_numpy(pixels)[None].expand(len(digits), -1, -1, -1)
        found = bound(images, torch.tensor(digits) + 1)
        classes = found.outputs["out"][0].argmax(0)
        row = [Cell(picture), Cell(_coloured(picture, classes, placement), "every pixel's class")]
        for digit, heatmap in zip(digits, found.heatmap, strict=True):
            text, box = loaded.labels[digit + 1], _box(classes == digit + 1, placement)
            row.append(
                Cell(
                    _hot(picture, heatmap, placement),
                    f"why {text}?",
                    [Box(box, text, COLOURS[digit])],
                )
            )
        rows.append(row)
    title = f"{bound.explainer.title} of a segmentation: what makes a region the digit it is"
    return grid(rows, title=title, colorbar="turbo")


def _bound(loaded: Loaded) -> Bound:
    return camport.bind(loaded.model, None, loaded.layer, loaded.adapter)


def _hot(picture: Image, heatmap: torch.Tensor, placement: Placement) -> Image:
    return overlay(picture, placement.to_image(heatmap.numpy()), alpha=0.6)


def _coloured(picture: Image, classes: torch.Tensor, placement: Placement) -> Image:
    """The picture with the pixels of each digit in its colour."""
    drawn = np.asarray(picture.convert("RGB"), np.float32) * 0.5
    for digit, colour in enumerate(COLOURS):
        here = placement.to_image((classes == digit + 1).float().numpy())[..., None]
        wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)], np.float32)
        drawn += np.clip(2 * here - 0.5, 0, 1) * (wanted - drawn)
    return fromarray(drawn.round().astype(np.uint8))


def _box(region: torch.Tensor, placement: Placement) -> tuple[float, float, float, float]:
    """The bounds of a region of the network's frame, in pixels of the picture."""
    rows, columns = region.any(1).nonzero()[:, 0], region.any(0).nonzero()[:, 0]
    corners = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    left, top, right, bottom = placement.boxes_to_image(np.array([[float(v) for v in corners]]))[
        0
    ].tolist()
    return left, top, right, bottom
