"""What an exported captioner, question answerer or segmentation is asked in `camport run`; numpy alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from PIL.Image import Image

from camport.cli.detections import for_rows, parsed
from camport.cli.figure import family_of
from camport.cli.printing import say
from camport.cli.shown import bounded
from camport.errors import InputError, ModelError, nearest
from camport.runtime import Explainer, Placement, class_index
from camport.view import Cell, grid, overlay, pictured, save_arrays, save_image, word_grid
from camport.view.save import ARRAYS

TASKS = ("captioning", "vqa", "segmentation")
Question = Annotated[
    str | None, typer.Option("--question", metavar="TEXT", help='Question answering: e.g. "how many sevens?".')
]
Caption = Annotated[
    str | None, typer.Option("--caption", metavar="TEXT", help="Captioning: the caption whose words are explained.")
]


def task_of(explainer: Explainer) -> tuple[str, Mapping[str, Any]]:
    """The name of the adapter that a file was made with, and its options."""
    adapter = explainer.metadata.get("adapter")
    if not isinstance(adapter, dict):
        return "", {}
    return str(adapter.get("name", "")), adapter.get("options") or {}


def asked(
    explainer: Explainer,
    picture: Image,
    placement: Placement,
    *,
    target: str | None,
    caption: str | None,
    question: str | None,
    box: Sequence[str] | None,
) -> tuple[dict[str, Any], str]:
    """The graph's inputs beside the images, and what was asked in words."""
    task, options = task_of(explainer)
    for given, name, of in ((caption, "--caption", "captioning"), (question, "--question", "vqa")):
        if given is not None and task != of:
            raise InputError(f"{name} is for files of {of}, and this one is of {task or 'classification'}")
    if task == "captioning":
        return _caption(explainer, options, caption, target)
    if task == "vqa":
        return _question(explainer, options, question, target)
    return _region(explainer, picture, placement, target, box)


def _caption(
    explainer: Explainer, options: Mapping[str, Any], caption: str | None, target: str | None
) -> tuple[dict[str, Any], str]:
    words = options.get("vocabulary") or []
    if not caption:
        raise InputError('the file explains words of a caption; give it, e.g. --caption "a seven above a two"')
    if not words:
        raise InputError("the file carries no vocabulary; call it from Python with tokens= and span=")
    length = _size(explainer, "tokens")
    prompt = list(options.get("prompt") or [0])
    tokens = [*prompt, *_looked_up(caption.replace(",", " ,").split(), words, "caption")]
    end = options.get("end")
    if len(tokens) > length:
        raise InputError(f"the caption {caption!r} has {len(tokens) - len(prompt)} words; the file reads {length - 1}")
    tokens += [0 if end is None else end] * (length - len(tokens))
    span = (-1, -1)
    if target is not None:
        wanted = _looked_up([target], words, "target")[0]
        if wanted not in tokens[len(prompt) :]:
            raise InputError(f"the caption {caption!r} has no word {target!r}")
        place = tokens.index(wanted, len(prompt))
        span = (place, place + 1)
    return {"tokens": np.array([tokens]), "span": np.array([span])}, target or caption


def _question(
    explainer: Explainer, options: Mapping[str, Any], question: str | None, target: str | None
) -> tuple[dict[str, Any], str]:
    words, answers = options.get("vocabulary") or [], options.get("answers") or []
    asked_words = (question or "").lower().replace("?", " ").split()
    if not asked_words:
        raise InputError('the question is empty; ask one, e.g. --question "how many sevens?"')
    if not words:
        raise InputError("the file carries no vocabulary; call it from Python with question= and answer=")
    length = _size(explainer, "question")
    tokens = _looked_up(asked_words, words, "question")
    if len(tokens) > length:
        raise InputError(f"the question {question!r} has {len(tokens)} words; the file reads {length}")
    tokens += [int(options.get("pad") or 0)] * (length - len(tokens))
    answer = -1 if target is None else class_index(target, tuple(answers) or explainer.labels)
    return {"question": np.array([tokens]), "answer": np.array([answer])}, str(question)


def _region(
    explainer: Explainer, picture: Image, placement: Placement, target: str | None, box: Sequence[str] | None
) -> tuple[dict[str, Any], str]:
    height, width = placement.network
    mask = np.full((1, height, width), -1, np.float32)
    if box:
        if len(box) > 1:
            raise InputError(f"--box {' '.join(box)}: give one region")
        x0, y0, x1, y1 = parsed(box, picture, placement)[0]
        y, x = np.arange(height) + 0.5, np.arange(width) + 0.5
        mask[0] = ((y >= y0) & (y <= y1))[:, None] & ((x >= x0) & (x <= x1))[None]
    index = -1 if target is None else class_index(target, explainer.labels)
    return {"target": np.array([index]), "mask": mask}, target or "the class that covers most"


def _size(explainer: Explainer, name: str) -> int:
    shape = next((port.shape for port in explainer.inputs if port.name == name), ())
    if len(shape) != 2 or not isinstance(shape[1], int):
        raise ModelError(f"{explainer.path} takes no {name} [b,n] of a fixed length; export it again")
    return shape[1]


def _looked_up(texts: Sequence[str], words: Sequence[str], what: str) -> list[int]:
    for text in texts:
        if text not in words:
            near = nearest(text, words) or list(words[:8])
            raise InputError(f"the {what} has the word {text!r}, which the model does not know; nearest: {near}")
    return [list(words).index(text) for text in texts]


def run(
    explainer: Explainer,
    path: Path,
    images: Sequence[Path],
    pictures: Iterable[Image],
    target: str | None,
    caption: str | None,
    question: str | None,
    box: Sequence[str] | None,
    colormap: str,
    alpha: float,
) -> None:
    """Explains each picture with the file and writes one figure, or the numbers."""
    task = task_of(explainer)[0]
    rows: list[list[Cell]] = []
    figures: list[Image] = []
    numbers: list[dict[str, np.ndarray]] = []
    for image, picture in zip(images, pictures, strict=True):
        pixels, placement = explainer.preprocess.apply(picture)
        inputs, what = asked(explainer, picture, placement, target=target, caption=caption, question=question, box=box)
        picture, placement = bounded(picture, placement)
        if task == "captioning" and target is None:
            prompt = task_of(explainer)[1].get("prompt") or [0]
            texts, inputs = _each_word(str(caption), inputs, len(prompt))
            result = explainer(for_rows(explainer, pixels, len(texts)), **inputs)
            maps = [pictured(placement.to_image(heatmap), family_of(explainer)) for heatmap in result.heatmap]
            figures.append(word_grid(picture, texts, maps, title=what, colormap=colormap, alpha=alpha))
        else:
            result = explainer(pixels[None], **inputs)
            if task == "vqa":
                what = f"{what} {_answer(explainer, inputs, result)}"
            heatmap = pictured(placement.to_image(result.heatmap[0]), family_of(explainer))
            rows.append([Cell(picture), Cell(overlay(picture, heatmap, alpha=alpha, colormap=colormap), what)])
        numbers.append(dict(result))
        scores = ", ".join(f"{score:.2f}" for score in result.score) if "score" in result else ""
        say(f"{image}: {what}" + (f", score {scores}" if scores else ""))
    if path.suffix.lower() in ARRAYS:
        save_numbers(path, numbers)
    elif figures:
        save_image(path, figures[0] if len(figures) == 1 else grid([[f] for f in figures], cell=max(figures[0].size)))
    else:
        save_image(path, grid(rows, title=explainer.path.name, colorbar=colormap))
    say(f"wrote {path}")


def save_numbers(path: Path, numbers: Sequence[Mapping[str, np.ndarray]]) -> None:
    """The heatmaps (.npy), or all numbers (.npz), of several pictures with their number behind the name."""
    if path.suffix.lower() == ".npy":
        save_arrays(path, np.concatenate([found["heatmap"] for found in numbers]))
        return
    named = {f"{name}_{i}": value for i, found in enumerate(numbers) for name, value in found.items()}
    save_arrays(path, dict(numbers[0]) if len(numbers) == 1 else named)


def _each_word(caption: str, inputs: Mapping[str, np.ndarray], first: int) -> tuple[list[str], dict[str, Any]]:
    """The caption's words, and inputs with a row for each; they stand behind the prompt, one token a word."""
    texts = caption.replace(",", " ,").split()
    tokens = inputs["tokens"][0]
    places = [first + i for i, text in enumerate(texts) if any(letter.isalnum() for letter in text)]
    spans = np.array([[place, place + 1] for place in places])
    return [texts[place - first] for place in places], {"tokens": np.tile(tokens, (len(places), 1)), "span": spans}


def _answer(explainer: Explainer, inputs: Mapping[str, np.ndarray], result: Any) -> str:
    answers = task_of(explainer)[1].get("answers") or explainer.labels or ()
    index = int(inputs["answer"][0])
    if index < 0 and "outputs" in result:
        index = int(np.argmax(result.outputs[0]))
    return str(answers[index]) if 0 <= index < len(answers) else ""
