"""What a run of a graph gives: its outputs by name."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from camport.errors import FlatMapWarning, InputError, ModelError, UnknownNameError
from camport.runtime.placement import Placement

if TYPE_CHECKING:
    from PIL.Image import Image


class UnknownOutputError(UnknownNameError, KeyError, AttributeError):  # type: ignore[misc]  # both have a name
    """An output the graph does not have; what a mapping raises, and what `hasattr` expects."""

    def __str__(self) -> str:
        return str(self.args[0])  # KeyError would show the repr, with quotes around the sentence


class Result(Mapping[str, np.ndarray]):
    """A graph's outputs, as attributes and as a read-only mapping, in the graph's order.

    `outputs` is the model's own prediction, `score` float32 [b], `heatmap` float32 [b,H,W] in
    [0,1]; with most methods there are `feature_maps` and `gradients` float32 [b,c,h,w], and
    `feature_maps_1`, ... for further layers. Other graphs may have other names.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray], family: str | None = None) -> None:
        self._arrays = dict(arrays)
        self._family = family

    def overlay(
        self,
        pictures: Any,
        placements: Placement | Sequence[Placement],
        *,
        alpha: float = 0.5,
        colormap: str = "turbo",
    ) -> list[Image]:
        """The heatmap of each row over its picture, as PIL images, at the pictures' own size.

        Args:
            pictures: one for each row, or one for all of them: PIL images or arrays.
            placements: of the pictures, the second that `preprocess.apply` gives.
            alpha: weight of the colours where the map is hottest.
            colormap: one of `camport.view.colormaps`.

        Raises:
            InputError: no heatmap among the outputs, or other numbers of pictures and placements
                than rows.
        """
        from camport.view import overlay, pictured

        if "heatmap" not in self:
            raise InputError(f"no heatmap to draw among the outputs {', '.join(self)}")
        maps, rows = self["heatmap"], len(self["heatmap"])
        drawn = list(pictures) if isinstance(pictures, list | tuple) else [pictures] * rows
        places = [placements] * rows if isinstance(placements, Placement) else list(placements)
        if (len(drawn), len(places)) != (rows, rows):
            raise InputError(
                f"{len(drawn)} pictures and {len(places)} placements for {rows} heatmaps; give one"
                " of each for each, or one for all"
            )
        return [
            overlay(
                picture,
                pictured(place.to_image(heatmap), self._family),
                alpha=alpha,
                colormap=colormap,
            )
            for picture, place, heatmap in zip(drawn, places, maps, strict=True)
        ]

    def save(
        self,
        path: str | os.PathLike[str],
        pictures: Any,
        placements: Placement | Sequence[Placement],
        **options: Any,
    ) -> Path:
        """Writes the overlays as one picture (.png, .jpg); arguments as `overlay`'s.

        Raises:
            InputError: as `overlay`.
            OutputError: a place where nothing can be written.
        """
        from camport.view import check_writable, grid, save_image

        path = check_writable(path, (".png", ".jpg", ".jpeg"))
        drawn = self.overlay(pictures, placements, **options)
        return save_image(path, drawn[0] if len(drawn) == 1 else grid([drawn]))

    def __getitem__(self, name: str) -> np.ndarray:
        try:
            return self._arrays[name]
        except KeyError:
            raise UnknownOutputError("output", name, self._arrays) from None

    def __getattr__(self, name: str) -> np.ndarray:
        if name.startswith("_"):  # copy and pickle ask before __init__ ran
            raise AttributeError(name)
        return self[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._arrays]

    def __repr__(self) -> str:
        lines = [f"  {name:14} {_describe(array)}" for name, array in self._arrays.items()]
        return "\n".join(["Result(", *lines, ")"])


SLACK = 1e-2
"""By which rounding, of float16 say, may lead out of [0,1]."""


def check_result(
    result: Mapping[str, np.ndarray], feeds: Mapping[str, np.ndarray], path: str
) -> None:
    """Refuses what is no explanation.

    Raises:
        ModelError: a score that is not float [b] or a heatmap that is not float [b,H,W] in [0,1],
            or with NaN or infinite values.
        InputError: a region that the model predicts nowhere, so that there is nothing to explain.
    """
    for name, rank in (("score", 1), ("heatmap", 3)):
        array = result.get(name)
        if array is None:
            continue
        # a file that finds its targets itself may find none, which is no rows
        if (
            not isinstance(array, np.ndarray)
            or array.dtype.kind != "f"
            or array.ndim != rank
            or 0 in array.shape[1:]
        ):
            seen = _describe(array) if isinstance(array, np.ndarray) else type(array).__name__
            axes = "[b,H,W]" if rank == 3 else "[b]"
            raise ModelError(
                f"{path}: {name} is {seen}; an explanation has floating-point numbers {axes}"
            )
        if np.isfinite(array).all():
            continue
        row = int(np.flatnonzero(~np.isfinite(array.reshape(len(array), -1)).all(1))[0])
        raise ModelError(
            f"{path}: {name} of row {row} has {int((~np.isfinite(array)).sum())} values that are"
            " not finite; the model's weights or its inputs overflow"
        )
    found = result.get("heatmap")
    if (
        found is not None
        and found.size
        and not (found.min() >= -SLACK and found.max() <= 1 + SLACK)
    ):
        raise ModelError(
            f"{path}: heatmap lies in [{found.min():.4g}, {found.max():.4g}] and not in [0,1]"
        )
    mask, heatmap = feeds.get("mask"), result.get("heatmap")
    if mask is None or heatmap is None or "score" not in result:
        return
    for row, (region, map_, score) in enumerate(zip(mask, heatmap, result["score"], strict=False)):
        # an empty region gives a mean of nothing, which is exactly 0
        if score == 0 and (region == -1).all() and not map_.any():
            raise InputError(
                f"the model predicts the class nowhere in image {row}; name another class, or a"
                " region: mask"
            )


def warn_of_flat_maps(result: Mapping[str, np.ndarray], path: str) -> None:
    """FlatMapWarning for heatmaps that are 0 everywhere."""
    found = result.get("heatmap")
    if found is None or not found.size or (flat := np.flatnonzero(~found.any((1, 2)))).size == 0:
        return
    rows = ", ".join(map(str, flat[:8].tolist())) + ", ..." * (len(flat) > 8)
    warnings.warn(
        f"{path}: the heatmap of row {rows} is flat: nothing speaks for the target there, or the"
        " images are not as the network wants them, which preprocess.apply makes of a picture",
        FlatMapWarning,
        stacklevel=3,
    )


def _describe(array: np.ndarray) -> str:
    """dtype, shape and range, e.g. `float32 [2,224,224] in [0, 1]`."""
    text = f"{array.dtype} {str(list(array.shape)).replace(' ', '')}"
    if array.size and array.dtype.kind in "fiu":
        text += f" in [{array.min():.4g}, {array.max():.4g}]"
    return text
