"""Files that are asked for words, an answer or a region in `camport run`; numpy alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from PIL.Image import Image

from camport.cli.boxes import for_rows, parsed
from camport.cli.figure import family_of
from camport.cli.given import Given
from camport.cli.printing import say, tell
from camport.cli.shown import bounded
from camport.runtime import Explainer
from camport.targets.asking import answered, each_word, of_file
from camport.targets.task import described, task_of
from camport.view import Cell, grid, overlay, pictured, save_arrays, save_image, word_grid
from camport.view.save import ARRAYS


def run(
    explainer: Explainer,
    path: Path,
    images: Sequence[Path],
    pictures: Iterable[Image],
    target: str | None,
    given: Given,
    colormap: str,
    alpha: float,
) -> None:
    """Explains each picture with the file and writes one figure, or the numbers."""
    shown = described(task_of(explainer.metadata)[0]).shown
    rows: list[list[Cell]] = []
    figures: list[Image] = []
    numbers: list[dict[str, np.ndarray]] = []
    for image, picture in zip(images, pictures, strict=True):
        pixels, placement = explainer.preprocess.apply(picture)
        regions = partial(parsed, picture=picture, placement=placement)
        inputs, what = of_file(explainer, given, target, placement.network, regions)
        picture, placement = bounded(picture, placement)
        if shown == "words" and target is None:
            texts, inputs = each_word(explainer, what, inputs)
            result = explainer(for_rows(explainer, pixels, len(texts)), **inputs)
            maps = [
                pictured(placement.to_image(heatmap), family_of(explainer))
                for heatmap in result.heatmap
            ]
            drawn = word_grid(
                picture,
                texts,
                maps,
                title=what,
                colormap=colormap,
                alpha=alpha,
                seen=placement.seen,
            )
            figures.append(drawn)
        else:
            result = explainer(pixels[None], **inputs)
            if shown == "answer":
                what = f"{what} {answered(explainer, inputs, result)}"
            heatmap = pictured(placement.to_image(result.heatmap[0]), family_of(explainer))
            coloured = overlay(picture, heatmap, alpha=alpha, colormap=colormap)
            rows.append([Cell(picture), Cell(coloured, what, seen=placement.seen)])
        numbers.append(dict(result))
        scores = result.score.tolist() if "score" in result else []
        text = ", ".join(f"{score:.2f}" for score in scores)
        text = what + (f", score {text}" if scores else "")
        tell(image, text, path, file=str(explainer.path), explained=what, score=scores)
    if path.suffix.lower() in ARRAYS:
        save_numbers(path, numbers)
    elif figures:
        save_image(
            path,
            figures[0]
            if len(figures) == 1
            else grid([[f] for f in figures], cell=max(figures[0].size)),
        )
    else:
        save_image(path, grid(rows, title=explainer.path.name, colorbar=colormap))
    say(f"wrote {path}")


def save_numbers(path: Path, numbers: Sequence[Mapping[str, np.ndarray]]) -> None:
    """The heatmaps (.npy), or all numbers (.npz),
    of several pictures with their number behind the name."""
    if path.suffix.lower() == ".npy":
        save_arrays(path, np.concatenate([found["heatmap"] for found in numbers]))
        return
    named = {
        f"{name}_{i}": value for i, found in enumerate(numbers) for name, value in found.items()
    }
    save_arrays(path, dict(numbers[0]) if len(numbers) == 1 else named)
