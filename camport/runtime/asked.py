"""Whole numbers that name something: tokens, answers, spans. The engine takes any, or fails with a page of its own."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from camport.errors import InputError
from camport.runtime.ports import Port


def check_asked(feeds: Mapping[str, np.ndarray], outputs: Sequence[Port], metadata: Mapping[str, Any]) -> None:
    """InputError for a token, an answer or a span of a caption that the graph does not have.

    Args:
        feeds: the inputs, as the graph takes them.
        outputs: the graph's; logits [b,t,v] tell how many tokens there are, [b,k] how many answers.
        metadata: the file's; the adapter's vocabulary tells how many tokens questions have.
    """
    shape = next((port.shape for port in outputs if port.name == "outputs"), ())
    last = shape[-1] if len(shape) in (2, 3) and isinstance(shape[-1], int) else None
    writes = "tokens" in feeds or len(shape) == 3
    adapter = metadata.get("adapter")
    options = adapter.get("options") if isinstance(adapter, dict) else None
    words = (options or {}).get("vocabulary") if not writes or "question" in feeds else None
    for name, least, known, what in (
        ("tokens", 0, last, "tokens"),
        ("question", 0, len(words) if words else None, "words"),
        ("answer", -1, last, "answers"),
        ("against", 0 if writes else -1, last, "tokens" if writes else "answers"),
    ):
        if name in feeds:
            _check_range(name, feeds[name], least, known, what)
    if "tokens" in feeds and "span" in feeds:
        _check_spans(feeds["span"], feeds["tokens"].shape[1])


def _check_range(name: str, array: np.ndarray, least: int, known: int | None, what: str) -> None:
    for i, row in enumerate(array.reshape(len(array), -1)):
        for value in row:
            if value < least or (known is not None and value >= known):
                there = f"{what} are 0 and up" if known is None else f"the graph has {known} {what}, 0 to {known - 1}"
                own = ", or -1 for the model's own choice" if least < 0 else ""
                raise InputError(f"{name} {value} of image {i} is out of range: {there}{own}")


def _check_spans(spans: np.ndarray, length: int) -> None:
    for i, (start, end) in enumerate(spans.tolist()):
        if (start, end) != (-1, -1) and not 1 <= start < end <= length:
            raise InputError(
                f"span ({start}, {end}) of image {i} is no part of the caption's {length} tokens: "
                f"1 <= start < end <= {length}, since token 0 is the start, or (-1, -1) for the whole caption"
            )
