"""What any task is asked by `--target NAME=VALUE`: the fields that its adapter declares,
or that a file carries."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL.Image import Image

from camport.cli.boxes import parsed
from camport.cli.edge_tasks import save_numbers
from camport.cli.figure import family_of
from camport.cli.printing import say, tell
from camport.cli.shown import at_layers, bounded, scaled
from camport.errors import InputError
from camport.runtime import Explainer, Placement, class_index
from camport.targets import Field
from camport.targets.field import split
from camport.view import Box, Cell, grid, overlay, pictured, save_image
from camport.view.save import ARRAYS

if TYPE_CHECKING:
    from camport.cli.work import Work


@dataclass(frozen=True)
class Asked:
    """What was asked of one picture.

    Attributes:
        values: of each field that was given, one row of the graph's input.
        marks: where on the picture, in its own pixels.
        text: as it was given.
    """

    values: Mapping[str, Any]
    marks: Sequence[Box]
    text: str


Answer = tuple[Mapping[str, np.ndarray], float | None]
"""The numbers of one explanation, and the score."""


def asked(
    texts: Sequence[str],
    fields: Sequence[Field],
    labels: tuple[str, ...] | None,
    picture: Image,
    placement: Placement,
) -> Asked:
    """The values that texts of the command line give for the fields, in the network's pixels.

    Raises:
        InputError: a text that is no such value, no such field, or two texts for one.
        UnknownNameError: no such label.
    """
    values: dict[str, Any] = {}
    marks: list[Box] = []
    for text in texts:
        field, rest = split(text, fields)
        if field.name in values:
            raise InputError(f"--target {text}: {field.name} is given twice")
        value = field.parsed(rest)
        if field.kind == "box":
            values[field.name] = parsed([rest], picture, placement)[0]
            left, top, right, bottom = value
            marks.append(Box((left, top, right, bottom)))
        elif field.kind == "point":
            values[field.name] = placement.boxes_to_network(np.array([[*value, *value]]))[0, :2]
            marks.append(Box((value[0] - 2, value[1] - 2, value[0] + 2, value[1] + 2)))
        else:
            values[field.name] = class_index(value, labels) if isinstance(value, str) else value
    return Asked(values, marks, ", ".join(texts))


def explain(work: Work, path: Path, images: Sequence[Path], pictures: Iterable[Image]) -> None:
    """Explains each picture in PyTorch and writes one figure, or the numbers."""
    (bound,), loaded, texts = work.bound, work.loaded, work.targets

    def answer(pixels: np.ndarray, what: Asked) -> Answer:
        explanation = bound(work.batch(pixels), dict(what.values), progress=work.progress)
        return explanation.numbers(), float(explanation.score[0])

    def prepared(picture: Image) -> tuple[np.ndarray, Placement, Asked]:
        pixels, placement = loaded.preprocess.apply(picture)
        return (
            pixels,
            placement,
            asked(texts, bound.adapter.fields, loaded.labels or None, picture, placement),
        )

    _write(
        path,
        images,
        pictures,
        prepared,
        answer,
        lambda: bound.explainer.title + at_layers(bound.layers),
        bound.explainer.family,
        work.colormap,
        work.alpha,
        method=bound.explainer.name,
    )


def run(
    explainer: Explainer,
    path: Path,
    images: Sequence[Path],
    pictures: Iterable[Image],
    texts: Sequence[str],
    colormap: str,
    alpha: float,
) -> None:
    """The same by an exported file."""

    def answer(pixels: np.ndarray, what: Asked) -> Answer:
        result = explainer(pixels[None], **what.values)
        return dict(result), float(result.score[0]) if "score" in result else None

    def prepared(picture: Image) -> tuple[np.ndarray, Placement, Asked]:
        pixels, placement = explainer.preprocess.apply(picture)
        return (
            pixels,
            placement,
            asked(texts, explainer.fields, explainer.labels, picture, placement),
        )

    name, family = explainer.path.name, family_of(explainer)
    _write(
        path, images, pictures, prepared, answer, lambda: name, family, colormap, alpha, file=name
    )


def _write(
    path: Path,
    images: Sequence[Path],
    pictures: Iterable[Image],
    prepared: Callable[[Image], tuple[np.ndarray, Placement, Asked]],
    answer: Callable[[np.ndarray, Asked], Answer],
    title: Callable[[], str],
    family: str | None,
    colormap: str,
    alpha: float,
    **facts: Any,
) -> None:
    rows: list[list[Cell]] = []
    numbers: list[Mapping[str, np.ndarray]] = []
    said: list[tuple[str, dict[str, Any]]] = []
    for original in pictures:
        pixels, placement, what = prepared(original)
        found, score = answer(pixels, what)
        picture, placement = bounded(original, placement)
        heatmap = pictured(placement.to_image(found["heatmap"][0]), family)
        text = ", ".join(
            part for part in (what.text, "" if score is None else f"score {score:.2f}") if part
        )
        marks = [scaled(mark, picture.width / original.width) for mark in what.marks]
        rows.append(
            [
                Cell(picture, "", marks),
                Cell(
                    overlay(picture, heatmap, alpha=alpha, colormap=colormap),
                    text,
                    marks,
                    placement.seen,
                ),
            ]
        )
        numbers.append(found)
        said.append((text, {**facts, "asked": what.text, "score": score}))
    if path.suffix.lower() in ARRAYS:
        save_numbers(path, numbers)
    else:
        save_image(path, grid(rows, title=title(), colorbar=colormap))
    for image, (text, one) in zip(images, said, strict=True):
        tell(image, text, path, **one)
    say(f"wrote {path}")
