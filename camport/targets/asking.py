"""What texts of the command line ask for: words of a caption, an answer, a region; of a model,
and of a file."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from camport.errors import InputError, ModelError, nearest
from camport.targets.labels import class_index
from camport.targets.task import described, task_of

Regions = Callable[[Sequence[str]], np.ndarray]
"""Texts of boxes as boxes [k,4] in the network's pixels."""
Labels = tuple[str, ...] | None
_EMPTY = 'the question is empty; ask one, e.g. --question "how many sevens?"'


def check_given(task: str, given: Mapping[str, Any]) -> None:
    """InputError for a question that was not given, and for several regions."""
    shown, box = described(task).shown, given.get("box") or []
    if shown == "answer" and given.get("question") is None:
        raise InputError(_EMPTY)
    if shown == "region" and len(box) > 1:
        raise InputError(f"--box {' '.join(box)}: give one region")


def of_model(
    task: str, given: Mapping[str, Any], target: str | None, labels: Labels, regions: Regions
) -> tuple[Any, str]:
    """The adapter's target, and what is written at the picture."""
    shown = described(task).shown
    if shown == "words":
        return target, ""
    if described(task).written:
        word = {} if target is None else {"word": target}
        return {"question": given["question"], **word}, str(given["question"])
    index = -1 if target is None else class_index(target, labels)
    if shown == "answer":
        return (given["question"], index), str(given["question"])
    if not given.get("box"):
        return {"class": index}, ""
    return {"class": index, "box": tuple(float(v) for v in regions(given["box"])[0])}, ""


def of_traced(task: str, box: Sequence[str], count: int) -> str:
    """How many boxes the `count` pictures that a file is traced with may have: "each", "one".

    Raises:
        InputError: a task that is not asked about boxes, or a number of boxes that does not fit.
    """
    traced = described(task).traced
    if traced == "none":
        raise InputError(
            f"--box is for --adapter detection and segmentation, and the task is {task}"
        )
    most = count if traced == "each" else 1
    if len(box) not in (1, most):
        each = f", or {most}, one for each" if most > 1 else ""
        raise InputError(f"{len(box)} boxes for {count} pictures; give one for all of them{each}")
    return traced


def of_file(
    explainer: Any,
    given: Mapping[str, Any],
    target: str | None,
    size: tuple[int, int],
    regions: Regions,
) -> tuple[dict[str, Any], str]:
    """The graph's inputs beside the images, and what was asked in words.

    Args:
        explainer: a `camport.runtime.Explainer`.
        given: the options of the command line.
        target: the class, the word or the answer.
        size: (height, width) of the network's input.
        regions: reads boxes.

    Raises:
        InputError: what the file does not take, or takes and was not given.
        ModelError: a graph without fixed lengths.
    """
    task, options = task_of(explainer.metadata)
    shown = described(task).shown
    if shown == "words":
        return _caption(explainer, options, given.get("caption"), target)
    if shown == "answer":
        question = given.get("question")
        asked = _question(explainer, options, question)
        if described(task).written:
            of_answer = options.get("answers") or {}
            answer, what = _caption(explainer, of_answer, given.get("caption"), target)
            return {**asked, **answer}, f"{question} {what}"
        answers = tuple(options.get("answers") or ())
        index = -1 if target is None else class_index(target, answers or explainer.labels)
        return {**asked, "answer": np.array([index])}, str(question)
    return _region(explainer.labels, size, target, given.get("box"), regions)


def each_word(
    explainer: Any, caption: str, inputs: Mapping[str, np.ndarray]
) -> tuple[list[str], dict[str, Any]]:
    """A caption's words, and inputs with a row for each; they stand behind the prompt,
    one token a word."""
    first = len(task_of(explainer.metadata)[1].get("prompt") or [0])
    texts = caption.replace(",", " ,").split()
    tokens = inputs["tokens"][0]
    places = [first + i for i, text in enumerate(texts) if any(letter.isalnum() for letter in text)]
    spans = np.array([[place, place + 1] for place in places])
    rows = {"tokens": np.tile(tokens, (len(places), 1)), "span": spans}
    return [texts[place - first] for place in places], rows


def written(options: Mapping[str, Any], tokens: Sequence[int]) -> str:
    """What was explained of an answer that the model wrote; tokens below 0 were not.

    Args:
        options: of the adapter, by name.
        tokens: of the answer.
    """
    words = (options.get("answers") or {}).get("vocabulary") or []
    own = [token for token in tokens if token >= 0]
    if not own or max(own) >= len(words):
        return f"token{'s' * (len(own) != 1)} {' '.join(map(str, own))}"
    return " ".join(words[token] for token in own)


def answered(
    explainer: Any, inputs: Mapping[str, np.ndarray], result: Mapping[str, np.ndarray]
) -> str:
    """The answer that was explained: the one asked about, or the model's own;
    "" of one that is written, which was given."""
    if "answer" not in inputs:
        return ""
    answers = task_of(explainer.metadata)[1].get("answers") or explainer.labels or ()
    index = int(inputs["answer"][0])
    if index < 0 and "outputs" in result:
        index = int(np.argmax(result["outputs"][0]))
    return str(answers[index]) if 0 <= index < len(answers) else ""


def _caption(
    explainer: Any, options: Mapping[str, Any], caption: str | None, target: str | None
) -> tuple[dict[str, Any], str]:
    words = options.get("vocabulary") or []
    if not caption:
        raise InputError(
            "the file explains words of a caption or an answer; give it,"
            ' e.g. --caption "a seven above a two"'
        )
    if not words:
        raise InputError(
            "the file carries no vocabulary; call it from Python with tokens= and span="
        )
    length = _size(explainer, "tokens")
    prompt = list(options.get("prompt") or [0])
    tokens = [*prompt, *_looked_up(caption.replace(",", " ,").split(), words, "caption")]
    end = options.get("end")
    if len(tokens) > length:
        raise InputError(
            f"the caption {caption!r} has {len(tokens) - len(prompt)} words; the file reads"
            f" {length - 1}"
        )
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
    explainer: Any, options: Mapping[str, Any], question: str | None
) -> dict[str, np.ndarray]:
    words = options.get("vocabulary") or []
    asked = (question or "").lower().replace("?", " ").split()
    if not asked:
        raise InputError(_EMPTY)
    if not words:
        raise InputError(
            "the file carries no vocabulary; call it from Python with question= and answer="
        )
    length = _size(explainer, "question")
    tokens = _looked_up(asked, words, "question")
    if len(tokens) > length:
        raise InputError(
            f"the question {question!r} has {len(tokens)} words; the file reads {length}"
        )
    tokens += [int(options.get("pad") or 0)] * (length - len(tokens))
    return {"question": np.array([tokens])}


def _region(
    labels: Labels,
    size: tuple[int, int],
    target: str | None,
    box: Sequence[str] | None,
    regions: Regions,
) -> tuple[dict[str, Any], str]:
    height, width = size
    mask = np.full((1, height, width), -1, np.float32)
    if box:
        if len(box) > 1:
            raise InputError(f"--box {' '.join(box)}: give one region")
        x0, y0, x1, y1 = regions(box)[0]
        y, x = np.arange(height) + 0.5, np.arange(width) + 0.5
        mask[0] = ((y >= y0) & (y <= y1))[:, None] & ((x >= x0) & (x <= x1))[None]
    index = -1 if target is None else class_index(target, labels)
    return {"target": np.array([index]), "mask": mask}, target or "the class that covers most"


def _size(explainer: Any, name: str) -> int:
    shape: tuple[Any, ...] = next(
        (port.shape for port in explainer.inputs if port.name == name), ()
    )
    if len(shape) != 2 or not isinstance(shape[1], int):
        raise ModelError(
            f"{explainer.path} takes no {name} [b,n] of a fixed length; export it again"
        )
    return shape[1]


def _looked_up(texts: Sequence[str], words: Sequence[str], what: str) -> list[int]:
    for text in texts:
        if text not in words:
            near = nearest(text, words) or list(words[:8])
            raise InputError(
                f"the {what} has the word {text!r}, which the model does not know; nearest: {near}"
            )
    return [list(words).index(text) for text in texts]
