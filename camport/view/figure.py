"""Maps as a matplotlib Figure, for a paper or a notebook of one's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from camport.errors import InputError, MissingDependencyError
from camport.view.colormaps import DIVERGING, colormap_table
from camport.view.overlay import overlay
from camport.view.pictures import ImageLike, to_pixels

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def figure(
    images: Sequence[ImageLike],
    heatmaps: Sequence[np.ndarray],
    captions: Sequence[str] = (),
    *,
    title: str = "",
    colormap: str = "turbo",
    alpha: float = 0.6,
) -> Figure:
    """Each image beside its overlay, with one colour bar,
    as a matplotlib Figure that pyplot does not know.

    Args:
        images: as `overlay` takes them.
        heatmaps: [H,W] in [0,1], each of its image's size.
        captions: over each overlay.
        title: over the figure.
        colormap: as `overlay` has it, as is `alpha`.

    Raises:
        InputError: no image, or other numbers of heatmaps or captions.
        MissingDependencyError: matplotlib is not installed.
    """
    try:
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import ListedColormap, Normalize
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError("matplotlib draws figures: pip install matplotlib") from error
    if not len(images) or len(heatmaps) != len(images) or len(captions) not in (0, len(images)):
        raise InputError(
            f"{len(images)} images, {len(heatmaps)} heatmaps and {len(captions)} captions; give one"
            " each"
        )
    made = Figure(figsize=(6.4, 3.1 * len(images) + (0.4 if title else 0)), layout="constrained")
    axes = made.subplots(len(images), 2, squeeze=False)
    for i, (image, heatmap) in enumerate(zip(images, heatmaps, strict=True)):
        axes[i, 0].imshow(to_pixels(image))
        axes[i, 1].imshow(np.asarray(overlay(image, heatmap, alpha=alpha, colormap=colormap)))
        axes[i, 1].set_title(captions[i] if captions else "", fontsize="medium")
        for axis in axes[i]:
            axis.set_axis_off()
    if title:
        made.suptitle(title)
    scale = ScalarMappable(Normalize(0, 1), ListedColormap(colormap_table(colormap) / 255))
    bar = made.colorbar(scale, ax=axes[:, 1].tolist(), shrink=0.8)
    bar.set_label("against to for" if colormap in DIVERGING else "heat")
    return made
