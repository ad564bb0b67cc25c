"""What a file's inputs may say: tokens, answers, spans, boxes, regions. The engine takes any.

`derived` is the one place where the schema of a file is read from its adapter's entry, its inputs
and its outputs; files of every version have those. Its twins in PyTorch are the adapters' `prepare`
and `check`, which refuse the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from camport.errors import InputError

Shape = tuple[int | str, ...]


@dataclass(frozen=True)
class Asked:
    """What one input may say.

    Attributes:
        kind: one of `KINDS`.
        least: of an index; below 0 there is a choice of the model's own.
        count: of an index: how many there are; of a span: how many tokens; None where nothing
            tells.
        of: of an index: what they are, in the plural.
        padding: of a padded row, the index that says nothing.
        size: of a box: (height, width) of the image that it lies in.
    """

    kind: str
    least: int = 0
    count: int | None = None
    of: str = ""
    padding: Any = None
    size: tuple[int, int] = (0, 0)


def derived(
    feeds: Mapping[str, np.ndarray], outputs: Mapping[str, Shape], metadata: Mapping[str, Any]
) -> list[tuple[str, Asked]]:
    """The schema of the inputs that are fed, by name.

    Args:
        feeds: the inputs, as the graph takes them.
        outputs: the shapes of the graph's; logits [b,t,v] tell how many tokens there are,
            [b,k] how many answers.
        metadata: the file's; the adapter's vocabulary tells how many tokens questions have.
    """
    shape = outputs.get("outputs", ())
    last = shape[-1] if len(shape) in (2, 3) and isinstance(shape[-1], int) else None
    writes = "tokens" in feeds or len(shape) == 3
    adapter = metadata.get("adapter")
    entry = adapter if isinstance(adapter, dict) else {}
    options = entry.get("options") or {}
    words = options.get("vocabulary") if not writes or "question" in feeds else None
    tokens = Asked("index", 0, last, "tokens")
    found = [
        ("tokens", tokens),
        ("question", Asked("index", 0, len(words) if words else None, "words")),
        ("answer", Asked("index", -1, last, "answers")),
        ("against", tokens if writes else Asked("index", -1, last, "answers")),
        ("question", Asked("padded", padding=options.get("pad", 0))),
    ]
    if "tokens" in feeds:
        found.append(("span", Asked("span", count=feeds["tokens"].shape[1])))
    size = _frame(feeds, metadata)
    if entry.get("name") == "detection" and size is not None:
        found.append(("boxes", Asked("box", size=size)))
    if entry.get("name") == "segmentation":
        found.append(("mask", Asked("mask")))
    return [(name, asked) for name, asked in found if name in feeds]


def check_asked(
    feeds: Mapping[str, np.ndarray], outputs: Mapping[str, Shape], metadata: Mapping[str, Any]
) -> None:
    """InputError for a token, an answer, a span, a box or a region that the graph cannot explain;
    as `derived`."""
    for name, asked in derived(feeds, outputs, metadata):
        KINDS[asked.kind](name, feeds[name], asked)


def _frame(feeds: Mapping[str, np.ndarray], metadata: Mapping[str, Any]) -> tuple[int, int] | None:
    """(height, width) that boxes lie in; None where nothing tells."""
    preprocess = metadata.get("preprocess")
    # where the file prepares its pictures, boxes are in pixels of the network and not of what is
    # fed
    if getattr(preprocess, "in_graph", False):
        return getattr(preprocess, "size", None)
    return feeds["images"].shape[2:4] if "images" in feeds else None


def _check_index(name: str, array: np.ndarray, asked: Asked) -> None:
    known, what = asked.count, asked.of
    for i, row in enumerate(array.reshape(len(array), -1)):
        for value in row:
            if value < asked.least or (known is not None and value >= known):
                there = (
                    f"{what} are 0 and up"
                    if known is None
                    else f"the graph has {known} {what}, 0 to {known - 1}"
                )
                own = ", or -1 for the model's own choice" if asked.least < 0 else ""
                raise InputError(f"{name} {value} of image {i} is out of range: {there}{own}")


def _check_span(name: str, spans: np.ndarray, asked: Asked) -> None:
    length = asked.count or 0
    for i, (start, end) in enumerate(spans.tolist()):
        if (start, end) != (-1, -1) and not 1 <= start < end <= length:
            raise InputError(
                f"{name} ({start}, {end}) of image {i} is no part of the caption's {length} tokens:"
                f" 1 <= start < end <= {length}, since token 0 is the start, or (-1, -1) for the"
                " whole caption"
            )


def _check_padded(name: str, rows: np.ndarray, asked: Asked) -> None:
    pad = asked.padding
    for i, row in enumerate(rows):
        if isinstance(pad, int) and (row == pad).all():
            raise InputError(
                f"the {name} of image {i} is empty: each token is {pad}, the padding; ask one"
            )


def _check_box(name: str, boxes: np.ndarray, asked: Asked) -> None:
    """A box is left < right and top < bottom and touches the image, or is 0 everywhere:
    the best candidate."""
    height, width = asked.size
    for i, (left, top, right, bottom) in enumerate(boxes.tolist()):
        shown = f"box ({left:g}, {top:g}, {right:g}, {bottom:g}) of row {i}"
        if not any((left, top, right, bottom)):
            continue
        if right <= left or bottom <= top:
            raise InputError(
                f"{shown} has no area; wanted left < right and top < bottom, in pixels"
            )
        if right <= 0 or bottom <= 0 or left >= width or top >= height:
            raise InputError(
                f"{shown} lies outside the image, which is {width} wide and {height} high"
            )


def _check_mask(name: str, masks: np.ndarray, asked: Asked) -> None:
    for i, mask in enumerate(masks):
        if (mask == -1).all():
            continue
        if (mask < 0).any():
            raise InputError(
                f"{name} of image {i} has values down to {mask.min():g}; weights of pixels are 0"
                " and more, or -1 for all of them: where the model predicts the class"
            )
        if not mask.any():
            raise InputError(f"{name} of image {i} is empty; mark at least one pixel")


KINDS = {
    "index": _check_index,
    "padded": _check_padded,
    "span": _check_span,
    "box": _check_box,
    "mask": _check_mask,
}
"""The check of each kind."""
