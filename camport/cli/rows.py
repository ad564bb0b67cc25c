"""What is explained of a picture, one row of a figure each: a class, a box, a word, an answer, a
region, or what an adapter's fields ask for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL.Image import Image

from camport.cli.boxes import every_box, parsed
from camport.cli.fields import asked
from camport.cli.given import single, told
from camport.errors import InputError
from camport.runtime import Placement, class_index
from camport.targets.asking import check_given, of_model
from camport.targets.task import described
from camport.view import Box
from camport.view.found import said

if TYPE_CHECKING:
    from camport.cli.work import Work
    from camport.core.bound import Bound


@dataclass(frozen=True)
class Row:
    """One of them.

    Attributes:
        target: for the adapter.
        text: what it is; "" where the explanation tells: the class that it found.
        marks: where on the picture, in its own pixels.
    """

    target: Any
    text: str = ""
    marks: Sequence[Box] = ()


def rows(
    work: Work, bound: Bound, picture: Image, pixels: np.ndarray, placement: Placement
) -> list[Row]:
    """The rows of a picture.

    Args:
        work: what was asked.
        bound: the method that finds what nobody named: boxes, the words of a text.
        picture: as it was opened.
        pixels: prepared, [c,H,W].
        placement: of the picture.

    Raises:
        InputError: what the task is not asked, or has to be asked and was not.
    """
    kind, labels = described(work.task), work.loaded.labels or None
    fields = bound.adapter.fields
    if fields:
        one = asked(work.targets, fields, labels, picture, placement)
        return [Row(dict(one.values), one.text, one.marks)]
    if kind.shown == "map":
        return [Row(class_index(text, labels)) for text in work.targets] or [Row(None)]
    target, given = told(work.task, work.targets, work.given)
    if kind.shown == "boxes":
        explanation = every_box(
            work, bound, work.batch(pixels), target, given["box"], picture, placement
        )
        from camport.cli.boxes import shown

        found = shown(explanation, placement)
        return [
            Row(
                {
                    "boxes": explanation.figures["boxes"][i : i + 1].float(),
                    "class_ids": explanation.figures["class_ids"][i : i + 1],
                },
                said(found, i, labels),
                [_box(found.boxes[i])],
            )
            for i in range(len(found.boxes))
        ]
    check_given(work.task, given)
    if kind.shown == "words" and target is None:
        return _words(bound, work.batch(pixels))
    regions = partial(parsed, picture=picture, placement=placement)
    what, text = of_model(work.task, given, target, labels, regions)
    marks = [_box(box.split(",")) for box in given.get("box") or ()]
    return [Row(what, target or text, marks)]


def only_row(
    work: Work, bound: Bound, picture: Image, pixels: np.ndarray, placement: Placement
) -> Row:
    """The one thing that is explained where one is drawn: at every layer, or in several views.

    Where nothing is asked it is the adapter's own choice: the top class, the surest box, the whole
    text.

    Raises:
        InputError: several are asked, or found where the user named something.
    """
    asked = work.targets or any(work.given.get(name) for name in ("box", "question"))
    if not asked and described(work.task).shown != "answer":
        return Row(None)
    if described(work.task).shown == "map" and not bound.adapter.fields:
        single(work.targets)
    found = rows(work, bound, picture, pixels, placement)
    if len(found) != 1:
        raise InputError(
            f"--sweep and --view draw one explanation of an image, and {len(found)} are asked:"
            " name one class, box or word"
        )
    return found[0]


def _words(bound: Bound, images: Any) -> list[Row]:
    from camport.adapters.text.words import explain_words

    found = explain_words(bound, images)
    return [
        Row(
            {"tokens": found.tokens[None], "span": (word.start, word.end)},
            f"{word.text} ({i + 1})" if _twice(found.words, word.text) else word.text,
        )
        for i, word in enumerate(found.words)
    ]


def _box(corners: Sequence[Any]) -> Box:
    left, top, right, bottom = (float(v) for v in corners)
    return Box((left, top, right, bottom))


def _twice(words: Sequence[Any], text: str) -> bool:
    return sum(word.text == text for word in words) > 1
