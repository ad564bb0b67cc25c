"""What `explain` and `run` write: a picture that says what was asked and where the network looked, or the numbers."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL.Image import Image

from camport.runtime import Placement
from camport.view import Cell, grid, overlay, save_arrays, save_image
from camport.view.save import ARRAYS


def write(
    path: Path,
    pictures: Sequence[Image],
    placements: Sequence[Placement],
    results: Sequence[Mapping[str, np.ndarray]],
    title: str,
    captions: Sequence[str],
    colormap: str,
    alpha: float,
) -> None:
    """Writes overlays at the pictures' own size (.png, .jpg) or the graph's outputs (.npy: heatmaps, .npz: all)."""
    if path.suffix.lower() in ARRAYS:
        _write_numbers(path, results)
        return
    rows = []
    for picture, placement, result, caption in zip(pictures, placements, results, captions, strict=True):
        heatmap = placement.to_image(result["heatmap"][0])
        rows.append([Cell(picture), Cell(overlay(picture, heatmap, alpha=alpha, colormap=colormap), caption)])
    save_image(path, grid(rows, title=title, columns=["image", "explanation"], colorbar=colormap))


def _write_numbers(path: Path, results: Sequence[Mapping[str, np.ndarray]]) -> None:
    if len({r["heatmap"].shape for r in results}) == 1:
        stacked = {name: np.concatenate([r[name] for r in results]) for name in results[0]}
        save_arrays(path, stacked["heatmap"] if path.suffix.lower() == ".npy" else stacked)
        return
    named = {f"{name}_{i}": value for i, r in enumerate(results) for name, value in r.items()}
    save_arrays(path, named)


def caption(target: int | None, score: float | None, labels: Sequence[str] | None) -> str:
    """What was asked and its score, as far as they are known, e.g. "seven (7), score 8.31"."""
    said = [] if score is None else [f"score {score:.2f}"]
    if target is not None:
        name = f"{labels[target]} ({target})" if labels and 0 <= target < len(labels) else f"class {target}"
        said.insert(0, name)
    return ", ".join(said) or "top class"
