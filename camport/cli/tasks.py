"""Captions, questions and segmentations in `camport explain`: a map a word, an answer's map, a region's map."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL.Image import Image

from camport.cli.detections import parsed
from camport.cli.edge_tasks import save_numbers
from camport.cli.printing import say
from camport.cli.shown import at_layers, bounded, scaled
from camport.errors import InputError
from camport.runtime import Placement, class_index
from camport.view import Box, Cell, grid, overlay, pictured, save_image, word_grid
from camport.view.save import ARRAYS

if TYPE_CHECKING:
    from camport.core.bound import Bound
    from camport.models import Loaded


def explain(
    task: str,
    path: Path,
    images: Sequence[Path],
    pictures: Iterable[Image],
    loaded: Loaded,
    method: str | None,
    layer: list[str] | None,
    target: str | None,
    box: list[str] | None,
    question: str | None,
    colormap: str,
    alpha: float,
    progress: Callable[[int, int], None],
    chunk: int | None = None,
) -> None:
    """Explains each picture for its task and writes one figure, or the numbers."""
    import camport

    if question is None and task == "vqa":
        raise InputError('the question is empty; ask one, e.g. --question "how many sevens?"')
    if question is not None and task != "vqa":
        raise InputError(f"--question is for --adapter vqa, and the task is {task}")
    if box and (task != "segmentation" or len(box) > 1):
        raise InputError(f"--box {' '.join(box)}: one region is for --adapter segmentation, and the task is {task}")
    bound = camport.bind(loaded.model, method, layer or loaded.layer, task, chunk=chunk)
    rows: list[list[Cell]] = []
    figures: list[Image] = []
    numbers: list[Mapping[str, np.ndarray]] = []
    said: list[str] = []
    for picture in pictures:
        pixels, placement = loaded.preprocess.apply(picture)
        opened = picture, placement
        picture, placement = bounded(picture, placement)
        if task == "captioning" and target is None:
            figure, text, found = _words(bound, picture, pixels, placement, colormap, alpha)
            figures.append(figure)
        else:
            asked, marks = _asked(task, target, box, question, *opened, loaded)
            scale = picture.width / opened[0].width
            cells, text, found = _one(bound, task, picture, pixels, placement, asked, loaded, colormap, alpha, progress)
            rows.append([Cell(picture, question or "", [scaled(mark, scale) for mark in marks]), cells])
        numbers.append(found)
        said.append(text)
    if path.suffix.lower() in ARRAYS:
        save_numbers(path, numbers)
    else:
        title = bound.explainer.title + at_layers(bound.layers)
        whole = grid([[figure] for figure in figures], cell=max(figures[0].size)) if len(figures) > 1 else None
        save_image(path, whole or (figures[0] if figures else grid(rows, title=title, colorbar=colormap)))
    for image, text in zip(images, said, strict=True):
        say(f"{image}: {text}")
    say(f"wrote {path}")


def _words(
    bound: Bound, picture: Image, pixels: np.ndarray, placement: Placement, colormap: str, alpha: float
) -> tuple[Image, str, Mapping[str, np.ndarray]]:
    """Every word of the caption that the model writes."""
    import torch

    from camport.adapters.text.words import explain_words

    found = explain_words(bound, torch.from_numpy(pixels))
    maps = [
        pictured(placement.to_image(heatmap), found.explanation.family) for heatmap in found.explanation.heatmap.numpy()
    ]
    chances = found.explanation.score.exp().tolist()
    words = [f"{word.text}  ({p:.0%})" for word, p in zip(found.words, chances, strict=True)]
    figure = word_grid(picture, words, maps, title=found.caption, colormap=colormap, alpha=alpha)
    return figure, found.caption, {**found.explanation.numbers(), "tokens": found.tokens.numpy()[None]}


def _one(
    bound: Bound,
    task: str,
    picture: Image,
    pixels: np.ndarray,
    placement: Placement,
    asked: Any,
    loaded: Loaded,
    colormap: str,
    alpha: float,
    progress: Callable[[int, int], None],
) -> tuple[Cell, str, Mapping[str, np.ndarray]]:
    import torch

    explanation = bound(torch.from_numpy(pixels)[None], asked, progress=progress)
    heatmap = pictured(placement.to_image(explanation.heatmap[0].numpy()), explanation.family)
    score = float(explanation.score[0])
    if task == "captioning":
        text = f"{asked}, log p {score:.2f}"
    else:
        index = int(explanation.target[0])
        name = loaded.labels[index] if index < len(loaded.labels) else f"class {index}"
        text = f"{name}, score {score:.2f}"
    return Cell(overlay(picture, heatmap, alpha=alpha, colormap=colormap), text), text, explanation.numbers()


def _asked(
    task: str,
    target: str | None,
    box: list[str] | None,
    question: str | None,
    picture: Image,
    placement: Placement,
    loaded: Loaded,
) -> tuple[Any, Sequence[Box]]:
    """The adapter's target, and what is drawn on the picture."""
    if task == "captioning":
        return target, ()
    if task == "vqa":
        return (question, -1 if target is None else class_index(target, loaded.labels or None)), ()
    asked: dict[str, Any] = {"class": -1 if target is None else class_index(target, loaded.labels or None)}
    if not box:
        return asked, ()
    asked["box"] = tuple(float(v) for v in parsed(box, picture, placement)[0])
    left, top, right, bottom = (float(v) for v in box[0].split(","))
    return asked, [Box((left, top, right, bottom))]
