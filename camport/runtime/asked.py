"""What a target names: tokens, answers, spans, boxes, regions. The engine takes any, and explains something else.

The twins in PyTorch are the adapters' `prepare` and `check`; the same wrong inputs are refused there.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from camport.errors import InputError
from camport.runtime.ports import Port


def check_asked(feeds: Mapping[str, np.ndarray], outputs: Sequence[Port], metadata: Mapping[str, Any]) -> None:
    """InputError for a token, an answer, a span, a box or a region that the graph cannot explain.

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
    if "question" in feeds:
        _check_question(feeds["question"], (options or {}).get("pad", 0))
    task = adapter.get("name") if isinstance(adapter, dict) else None
    if task == "detection" and "boxes" in feeds and "images" in feeds:
        _check_boxes(feeds["boxes"], feeds["images"].shape, metadata)
    if task == "segmentation" and "mask" in feeds:
        _check_masks(feeds["mask"])


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


def _check_question(questions: np.ndarray, pad: Any) -> None:
    for i, row in enumerate(questions):
        if isinstance(pad, int) and (row == pad).all():
            raise InputError(f"the question of image {i} is empty: each token is {pad}, the padding; ask one")


def _check_boxes(boxes: np.ndarray, images: tuple[int, ...], metadata: Mapping[str, Any]) -> None:
    """A box is left < right and top < bottom and touches the image, or is 0 everywhere: the best candidate."""
    preprocess = metadata.get("preprocess")
    # where the file prepares its pictures, boxes are in pixels of the network and not of what is fed
    if getattr(preprocess, "in_graph", False):
        size = getattr(preprocess, "size", None)
        if size is None:
            return
        height, width = size
    else:
        height, width = images[2:]
    for i, (left, top, right, bottom) in enumerate(boxes.tolist()):
        shown = f"box ({left:g}, {top:g}, {right:g}, {bottom:g}) of row {i}"
        if not any((left, top, right, bottom)):
            continue
        if right <= left or bottom <= top:
            raise InputError(f"{shown} has no area; wanted left < right and top < bottom, in pixels")
        if right <= 0 or bottom <= 0 or left >= width or top >= height:
            raise InputError(f"{shown} lies outside the image, which is {width} wide and {height} high")


def _check_masks(masks: np.ndarray) -> None:
    for i, mask in enumerate(masks):
        if (mask == -1).all():
            continue
        if (mask < 0).any():
            raise InputError(
                f"mask of image {i} has values down to {mask.min():g}; weights of pixels are 0 and more, or -1 for all "
                "of them: where the model predicts the class"
            )
        if not mask.any():
            raise InputError(f"mask of image {i} is empty; mark at least one pixel")
