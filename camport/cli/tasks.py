"""Words, answers and regions in `camport explain`: a map of each word, of the answer,
of the region."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL.Image import Image

from camport.cli.boxes import parsed
from camport.cli.edge_tasks import save_numbers
from camport.cli.given import Given
from camport.cli.printing import say
from camport.cli.shown import at_layers, bounded, scaled
from camport.runtime import Placement
from camport.targets.asking import check_given, of_model, written
from camport.targets.task import described
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
    bind: Callable[[], list[Bound]],
    target: str | None,
    given: Given,
    colormap: str,
    alpha: float,
    progress: Callable[[int, int], None],
) -> None:
    """Explains each picture for its task and writes one figure, or the numbers."""
    check_given(task, given)
    shown = described(task).shown
    (bound,) = bind()
    rows: list[list[Cell]] = []
    figures: list[Image] = []
    numbers: list[Mapping[str, np.ndarray]] = []
    said: list[str] = []
    for picture in pictures:
        pixels, placement = loaded.preprocess.apply(picture)
        opened = picture, placement
        picture, placement = bounded(picture, placement)
        if shown == "words" and target is None:
            figure, text, found = _words(bound, picture, pixels, placement, colormap, alpha)
            figures.append(figure)
        else:
            regions = partial(parsed, picture=opened[0], placement=opened[1])
            asked, what = of_model(task, given, target, loaded.labels or None, regions)
            scale = picture.width / opened[0].width
            cells, text, found = _one(
                bound, task, picture, pixels, placement, asked, loaded, colormap, alpha, progress
            )
            rows.append(
                [Cell(picture, what, [scaled(mark, scale) for mark in _marks(given)]), cells]
            )
        numbers.append(found)
        said.append(text)
    if path.suffix.lower() in ARRAYS:
        save_numbers(path, numbers)
    else:
        title = bound.explainer.title + at_layers(bound.layers)
        whole = (
            grid([[figure] for figure in figures], cell=max(figures[0].size))
            if len(figures) > 1
            else None
        )
        save_image(
            path, whole or (figures[0] if figures else grid(rows, title=title, colorbar=colormap))
        )
    for image, text in zip(images, said, strict=True):
        say(f"{image}: {text}")
    say(f"wrote {path}")


def _words(
    bound: Bound,
    picture: Image,
    pixels: np.ndarray,
    placement: Placement,
    colormap: str,
    alpha: float,
) -> tuple[Image, str, Mapping[str, np.ndarray]]:
    """Every word of what the model writes."""
    import torch

    from camport.adapters.text.words import explain_words

    found = explain_words(bound, torch.from_numpy(pixels))
    maps = [
        pictured(placement.to_image(heatmap), found.explanation.family)
        for heatmap in found.explanation.heatmap.numpy()
    ]
    chances = found.explanation.score.exp().tolist()
    words = [f"{word.text}  ({p:.0%})" for word, p in zip(found.words, chances, strict=True)]
    figure = word_grid(picture, words, maps, title=str(found), colormap=colormap, alpha=alpha)
    return figure, str(found), {**found.explanation.numbers(), "tokens": found.tokens.numpy()[None]}


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
    if described(task).shown == "words":
        text = f"{asked}, log p {score:.2f}"
    elif described(task).written:
        answer = written(bound.adapter.options(), explanation.target[0].tolist())
        text = f"{answer}, log p {score:.2f}"
    else:
        index = int(explanation.target[0])
        name = loaded.labels[index] if index < len(loaded.labels) else f"class {index}"
        text = f"{name}, score {score:.2f}"
    return (
        Cell(overlay(picture, heatmap, alpha=alpha, colormap=colormap), text),
        text,
        explanation.numbers(),
    )


def _marks(given: Given) -> list[Box]:
    """The region that was given, as it is drawn on the picture."""
    found = []
    for text in given.get("box") or ():
        left, top, right, bottom = (float(v) for v in text.split(","))
        found.append(Box((left, top, right, bottom)))
    return found
