"""Boxes in `camport explain` and `camport run`: which are explained, and the picture of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL.Image import Image

from camport.cli.figure import family_of, named_class
from camport.cli.given import told
from camport.cli.printing import say, tell
from camport.cli.shown import at_layers, bounded
from camport.errors import InputError
from camport.runtime import Explainer, Placement, class_index
from camport.targets.boxes import chosen, confident, found_by_file, of_class
from camport.view import pictured, save_arrays, save_image
from camport.view.found import Found, found_grid, said
from camport.view.save import ARRAYS

if TYPE_CHECKING:
    from torch import Tensor

    from camport.cli.work import Work
    from camport.core.bound import Bound
    from camport.core.explanation import Explanation


def explain(work: Work, path: Path, images: Sequence[Path], pictures: Iterable[Image]) -> None:
    """Everything found in each picture, or what is found in the boxes that were named."""
    target, given = told(work.task, work.targets, work.given)
    (bound,), labels = work.bound, work.loaded.labels
    drawn, found, numbers = [], [], []
    for picture in pictures:
        pixels, placement = work.loaded.preprocess.apply(picture)
        explanation = every_box(
            work, bound, work.batch(pixels), target, given["box"], picture, placement
        )
        picture, placement = bounded(picture, placement)
        drawn.append(picture)
        found.append(shown(explanation, placement))
        numbers.append(
            {
                **explanation.numbers(),
                **{k: v.cpu().numpy() for k, v in explanation.figures.items()},
            }
        )
    where = at_layers(bound.layers)
    title = f"{bound.explainer.title}: why is it there?{where}"
    write(path, drawn, found, numbers, title, labels, work.colormap, work.alpha)
    _tell(images, found, labels, path, method=bound.explainer.name, layers=bound.layers)


def every_box(
    work: Work,
    bound: Bound,
    images: Tensor,
    target: str | None,
    box: Sequence[str] | None,
    picture: Image,
    placement: Placement,
) -> Explanation:
    """The explanation of all that is found, of one class or of all, or of the boxes that were
    named."""
    import torch

    labels = work.loaded.labels
    label = None if target is None else class_index(target, labels or None)
    asked = None
    if box:
        asked = {
            "boxes": torch.from_numpy(parsed(box, picture, placement)),
            "class_ids": -1 if label is None else label,
        }
    explanation = bound(images, asked, progress=work.progress)
    if label is not None and asked is None:
        return _of_class(explanation, label, target, labels)
    return explanation


def _tell(
    images: Sequence[Path],
    found: Sequence[Found],
    labels: Sequence[str] | None,
    path: Path,
    **facts: Any,
) -> None:
    """Prints what was found in each picture, and the file that was written."""
    for image, one in zip(images, found, strict=True):
        listed = ", ".join(said(one, i, labels) for i in range(len(one.boxes)))
        each = [
            {
                "box": one.boxes[i].tolist(),
                **named_class(int(one.classes[i]), labels),
                "confidence": float(one.confidence[i]),
            }
            for i in range(len(one.boxes))
        ]
        tell(image, listed, path, **facts, found=each)
    say(f"wrote {path}")


def run(
    explainer: Explainer,
    path: Path,
    images: Sequence[Path],
    pictures: Iterable[Image],
    target: str | None,
    box: list[str] | None,
    confidence: float | None,
    colormap: str,
    alpha: float,
) -> None:
    """The same with an exported file: one run finds what is there, a second explains all of it.

    A file that suppresses and explains what it found does both in one.
    """
    label = None if target is None else class_index(target, explainer.labels)
    drawn, shown, numbers, family = [], [], [], family_of(explainer)
    finds_itself = all(port.name != "boxes" for port in explainer.inputs)
    if finds_itself and box:
        raise InputError(f"{explainer.path} explains what it finds itself and takes no boxes")
    for picture in pictures:
        pixels, placement = explainer.preprocess.apply(picture)
        whole, small = (picture, placement), bounded(picture, placement)
        drawn.append(small[0])
        placement = small[1]
        if finds_itself:
            one, result = _found_by_file(explainer, pixels, placement, label, confidence)
            shown.append(one)
            numbers.append(dict(result))
            continue
        size = placement.network
        if box:
            boxes = parsed(box, *whole)
            classes = np.full(len(boxes), -1 if label is None else label)
        else:
            first = explainer(
                pixels[None], boxes=np.zeros((1, 4), np.float32), only=_predictions(explainer)
            )
            boxes, classes = chosen(
                first, explainer.metadata.get("adapter", {}), size, confidence, label, target
            )
        result = explainer(for_rows(explainer, pixels, len(boxes)), boxes=boxes, class_ids=classes)
        sure = confident(result, explainer.metadata.get("adapter", {}), size, boxes, classes)
        heatmaps = [pictured(placement.to_image(heatmap), family) for heatmap in result["heatmap"]]
        shown.append(
            Found(
                placement.boxes_to_image(sure.boxes),
                sure.class_ids,
                sure.confidence,
                heatmaps,
                placement.seen,
            )
        )
        numbers.append({**result, "boxes": boxes, "class_ids": classes})
    method = explainer.metadata.get("method")
    title = f"{method.get('name') if isinstance(method, dict) else method} in {explainer.path.name}"
    write(path, drawn, shown, numbers, title, explainer.labels, colormap, alpha)
    _tell(images, shown, explainer.labels, path, file=str(explainer.path))


def for_rows(explainer: Explainer, pixels: np.ndarray, rows: int) -> np.ndarray:
    """The image as often as the file wants it for so many targets."""
    return pixels[None] if explainer.one_image else np.repeat(pixels[None], rows, 0)


def _found_by_file(
    explainer: Explainer,
    pixels: np.ndarray,
    placement: Placement,
    label: int | None,
    confidence: float | None,
) -> tuple[Found, Mapping[str, np.ndarray]]:
    """What a file that suppresses and explains by itself finds, the most confident first."""
    result = explainer(pixels[None])
    found, rows = found_by_file(result, label, confidence)
    heatmaps = [
        pictured(placement.to_image(result["heatmap"][row]), family_of(explainer)) for row in rows
    ]
    boxes = placement.boxes_to_image(found.boxes)
    return Found(boxes, found.class_ids, found.confidence, heatmaps, placement.seen), result


def _predictions(explainer: Explainer) -> list[str]:
    names = [port.name for port in explainer.outputs if port.name.startswith("outputs")]
    if not names:
        raise InputError(
            f"{explainer.path} gives no predictions, so nothing can be found with it: name a --box"
        )
    return names


def _of_class(
    explanation: Explanation, label: int, named: str | None, labels: Sequence[str]
) -> Explanation:
    """What was found of one class alone."""
    rows = of_class(explanation.target.numpy(force=True), label, named, labels).tolist()
    kept = {
        name: getattr(explanation, name)[rows] for name in ("heatmap", "raw", "score", "target")
    }
    figures = {name: value[rows] for name, value in explanation.figures.items()}
    return replace(explanation, **kept, figures=figures, activations=None, gradients=None)


def parsed(boxes: Sequence[str], picture: Image, placement: Placement) -> np.ndarray:
    """Boxes as they were written, [k,4] in the network's pixels;
    InputError for what is no box in the picture."""
    found = []
    for text in boxes:
        try:
            left, top, right, bottom = (float(part) for part in text.split(","))
        except ValueError:
            raise InputError(
                f"box {text!r} is not LEFT,TOP,RIGHT,BOTTOM in pixels, e.g. 40,25,180,210"
            ) from None
        if not (left < right and top < bottom):
            raise InputError(
                f"box {text} has no area; wanted left < right and top < bottom, in pixels"
            )
        if right <= 0 or bottom <= 0 or left >= picture.width or top >= picture.height:
            raise InputError(
                f"box {text} lies outside the picture, which is {picture.width} wide and"
                f" {picture.height} high"
            )
        found.append(
            (max(left, 0), max(top, 0), min(right, picture.width), min(bottom, picture.height))
        )
    return placement.boxes_to_network(np.array(found))


def shown(explanation: Explanation, placement: Placement) -> Found:
    """What was explained in PyTorch."""
    figures = {name: value.detach().cpu().numpy() for name, value in explanation.figures.items()}
    heatmaps = explanation.heatmap.cpu().numpy()
    return Found(
        placement.boxes_to_image(figures["boxes"]),
        figures["class_ids"],
        figures["confidence"],
        [pictured(placement.to_image(heatmap), explanation.family) for heatmap in heatmaps],
        placement.seen,
    )


def write(
    path: Path,
    pictures: Sequence[Image],
    found: Sequence[Found],
    numbers: Sequence[Mapping[str, np.ndarray]],
    title: str,
    labels: Sequence[str] | None,
    colormap: str,
    alpha: float,
) -> None:
    """The picture with all boxes, then each with its map, box, label and confidence;
    or the numbers."""
    if path.suffix.lower() in ARRAYS:
        only = path.suffix.lower() == ".npy"
        several = len(numbers) > 1
        named = {
            f"{k}_{i}" if several else k: v for i, n in enumerate(numbers) for k, v in n.items()
        }
        save_arrays(path, np.concatenate([n["heatmap"] for n in numbers]) if only else named)
        return
    save_image(
        path, found_grid(pictures, found, labels, title=title, colormap=colormap, alpha=alpha)
    )
