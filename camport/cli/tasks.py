"""Words, answers and regions in `camport explain`: a map of each word, of the answer,
of the region."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL.Image import Image

from camport.cli.boxes import parsed
from camport.cli.edge_tasks import save_numbers
from camport.cli.given import Given, told
from camport.cli.printing import say, tell
from camport.cli.shown import at_layers, bounded, scaled
from camport.runtime import Placement
from camport.targets.asking import check_given, of_model, written
from camport.targets.task import described
from camport.view import Box, Cell, grid, overlay, pictured, save_image, word_grid
from camport.view.save import ARRAYS

if TYPE_CHECKING:
    from camport.cli.work import Work
    from camport.core.bound import Bound
    from camport.core.explanation import Explanation


def explain(work: Work, path: Path, images: Sequence[Path], pictures: Iterable[Image]) -> None:
    """Explains each picture for its task and writes one figure, or the numbers."""
    target, given = told(work.task, work.targets, work.given)
    check_given(work.task, given)
    shown, labels = described(work.task).shown, work.loaded.labels or None
    (bound,) = work.bound
    rows: list[list[Cell]] = []
    figures: list[Image] = []
    numbers: list[Mapping[str, np.ndarray]] = []
    said: list[str] = []
    for picture in pictures:
        pixels, placement = work.loaded.preprocess.apply(picture)
        opened = picture, placement
        picture, placement = bounded(picture, placement)
        if shown == "words" and target is None:
            figure, text, found = _words(work, picture, pixels, placement)
            figures.append(figure)
        else:
            regions = partial(parsed, picture=opened[0], placement=opened[1])
            asked, what = of_model(work.task, given, target, labels, regions)
            scale = picture.width / opened[0].width
            cells, text, found = _one(work, picture, pixels, placement, asked)
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
            path,
            whole or (figures[0] if figures else grid(rows, title=title, colorbar=work.colormap)),
        )
    for image, text, found in zip(images, said, numbers, strict=True):
        facts = {"method": bound.explainer.name, "layers": bound.layers, "explained": text}
        tell(image, text, path, **facts, score=np.asarray(found["score"]).tolist())
    say(f"wrote {path}")


def _words(
    work: Work, picture: Image, pixels: np.ndarray, placement: Placement
) -> tuple[Image, str, Mapping[str, np.ndarray]]:
    """Every word of what the model writes."""
    from camport.adapters.text.words import explain_words

    found = explain_words(work.bound[0], work.batch(pixels))
    maps = [
        pictured(placement.to_image(heatmap), found.explanation.family)
        for heatmap in found.explanation.heatmap.numpy(force=True)
    ]
    chances = found.explanation.score.exp().tolist()
    words = [f"{word.text}  ({p:.0%})" for word, p in zip(found.words, chances, strict=True)]
    figure = word_grid(
        picture,
        words,
        maps,
        title=str(found),
        colormap=work.colormap,
        alpha=work.alpha,
        seen=placement.seen,
    )
    return (
        figure,
        str(found),
        {**found.explanation.numbers(), "tokens": found.tokens.numpy(force=True)[None]},
    )


def _one(
    work: Work, picture: Image, pixels: np.ndarray, placement: Placement, asked: Any
) -> tuple[Cell, str, Mapping[str, np.ndarray]]:
    explanation = work.bound[0](work.batch(pixels), asked, progress=work.progress)
    heatmap = explanation.heatmap[0].numpy(force=True)
    drawn = pictured(placement.to_image(heatmap), explanation.family)
    text = answered(work, work.bound[0], explanation, asked)
    coloured = overlay(picture, drawn, alpha=work.alpha, colormap=work.colormap)
    return Cell(coloured, text, seen=placement.seen), text, explanation.numbers()


def answered(work: Work, bound: Bound, explanation: Explanation, asked: Any) -> str:
    """What was explained of one picture, with its score."""
    score, kind = float(explanation.score[0]), described(work.task)
    if kind.shown == "words":
        return f"{asked}, log p {score:.2f}"
    if kind.written:
        answer = written(bound.adapter.options(), explanation.target[0].tolist())
        return f"{answer}, log p {score:.2f}"
    index, labels = int(explanation.target[0]), work.loaded.labels
    name = labels[index] if index < len(labels) else f"class {index}"
    return f"{name}, score {score:.2f}"


def _marks(given: Given) -> list[Box]:
    """The region that was given, as it is drawn on the picture."""
    found = []
    for text in given.get("box") or ():
        left, top, right, bottom = (float(v) for v in text.split(","))
        found.append(Box((left, top, right, bottom)))
    return found
