"""What `explain` and `run` write: a picture that says what was asked and where the network looked,
or the numbers."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL.Image import Image

from camport.errors import InputError, UnknownNameError
from camport.runtime import Explainer, Placement
from camport.view import (
    GRADIENT_VIEWS,
    Cell,
    apply_colormap,
    channel_grid,
    gradient_picture,
    grid,
    overlay,
    pictured,
    save_arrays,
    save_image,
)
from camport.view.save import ARRAYS

HEADS = {
    "overlay": "explanation",
    "map": "map",
    "colour": "gradient, colour",
    "grey": "gradient, grey",
    "positive": "positive gradient",
    "negative": "negative gradient",
}
VIEWS = (*HEADS, "grid")
"""The names that --view takes."""


def check_views(views: Sequence[str], path: Path, images: int, layers: int) -> None:
    """Refuses views that cannot be drawn, as far as that is known before anything is explained."""
    for view in views:
        if view not in VIEWS:
            raise UnknownNameError("view", view, VIEWS)
    if views and path.suffix.lower() in ARRAYS:
        raise InputError(f"--view is for pictures (.png, .jpg), and {path} is written with numbers")
    if "grid" in views and (len(views) > 1 or images > 1 or layers > 1):
        what = (
            "is given with others"
            if len(views) > 1
            else f"has {images} images and {max(1, layers)} layers"
        )
        raise InputError(
            f"view 'grid' is a figure of its own, of one image at one layer; here it {what}"
        )


def check_method(views: Sequence[str], method: Any) -> None:
    """Refuses views of what the method, a class of explainers, does not give."""
    signed = next((view for view in views if view in GRADIENT_VIEWS), None)
    if signed and method.family != "input-gradient":
        raise InputError(
            f"view {signed!r} draws the gradient of the image; {method.name} gives none,"
            f" {_WITH_GRADIENT}"
        )
    if "grid" in views and not method.needs_layer:
        raise InputError(
            f"view 'grid' draws a layer's feature maps, and {method.name} reads none; feature_maps"
            " does"
        )


_WITH_GRADIENT = (
    "but saliency, guided_backprop, deconvnet, guided_gradcam, smoothgrad and"
    " integrated_gradients do"
)


DRAWN = ("heatmap", "gradient", "feature_maps")


def kept(result: Mapping[str, np.ndarray], path: Path) -> dict[str, np.ndarray]:
    """All numbers for an array file; for a picture what may be drawn."""
    numbers = path.suffix.lower() in ARRAYS
    return {name: value for name, value in result.items() if numbers or name in DRAWN}


def write(
    path: Path,
    pictures: Sequence[Image],
    placements: Sequence[Placement],
    results: Sequence[Mapping[str, np.ndarray]],
    title: str,
    legends: Sequence[str],
    colormap: str,
    alpha: float,
    views: Sequence[str] = (),
    family: str | None = None,
) -> None:
    """Writes pictures at the pictures' own size (.png, .jpg) or the graph's outputs (.npy:
    heatmaps, .npz: all).

    `results` hold "heatmap" [1,H,W]; for views of them "gradient" [1,c,H,W] or "feature_maps"
    [1,c,h,w]. `family` is the method's.
    """
    if path.suffix.lower() in ARRAYS:
        _write_numbers(path, results)
        return
    if "grid" in views:
        save_image(path, channel_grid(results[0]["feature_maps"][0], pictures[0], title=title))
        return
    views = views or ("overlay",)
    rows = []
    for picture, placement, result, legend in zip(
        pictures, placements, results, legends, strict=True
    ):
        cells = [
            _drawn(view, picture, placement, result, colormap, alpha, family) for view in views
        ]
        texts = [legend, *[""] * (len(cells) - 1)]
        explained = [Cell(c, t, seen=placement.seen) for c, t in zip(cells, texts, strict=True)]
        rows.append([Cell(picture), *explained])
    heads = [HEADS[view] for view in views]
    bar = colormap if {"overlay", "map"} & set(views) else None
    save_image(path, grid(rows, title=title, columns=["image", *heads], colorbar=bar))


def _drawn(
    view: str,
    picture: Image,
    placement: Placement,
    result: Mapping[str, np.ndarray],
    colormap: str,
    alpha: float,
    family: str | None,
) -> Image | np.ndarray:
    if view not in GRADIENT_VIEWS:
        heatmap = pictured(placement.to_image(result["heatmap"][0]), family)
        return (
            overlay(picture, heatmap, alpha=alpha, colormap=colormap)
            if view == "overlay"
            else apply_colormap(heatmap, colormap)
        )
    if "gradient" not in result:
        raise InputError(
            f"view {view!r} draws the gradient of the image; this method gives none,"
            f" {_WITH_GRADIENT}"
        )
    return gradient_picture(
        np.stack([placement.to_image(channel) for channel in result["gradient"][0]]), view
    )


def _write_numbers(path: Path, results: Sequence[Mapping[str, np.ndarray]]) -> None:
    if len({r["heatmap"].shape for r in results}) == 1:
        stacked = {name: np.concatenate([r[name] for r in results]) for name in results[0]}
        save_arrays(path, stacked["heatmap"] if path.suffix.lower() == ".npy" else stacked)
        return
    named = {f"{name}_{i}": value for i, r in enumerate(results) for name, value in r.items()}
    save_arrays(path, named)


def family_of(explainer: Explainer) -> str | None:
    """The family of the method in an exported file; None in files that do not say."""
    method = explainer.metadata.get("method")
    return method.get("family") if isinstance(method, dict) else None


def named_class(target: int | None, labels: Sequence[str] | None) -> dict[str, Any]:
    """A class by number and label, as far as they are known, for JSON."""
    known = target is not None and labels and 0 <= target < len(labels)
    return {"target": target, "label": labels[target] if known else None}  # type: ignore[index]


def legend(target: int | None, score: float | None, labels: Sequence[str] | None) -> str:
    """What was asked and its score, as far as they are known, e.g. "seven (7), score 8.31"."""
    said = [] if score is None else [f"score {score:.2f}"]
    if target is not None:
        name = (
            f"{labels[target]} ({target})"
            if labels and 0 <= target < len(labels)
            else f"class {target}"
        )
        said.insert(0, name)
    return ", ".join(said) or "top class"
