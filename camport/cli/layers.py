"""`camport explain --sweep`: one image at many layers."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL.Image import Image

from camport.errors import FlatMapWarning, GuardWarning, LayerError, silenced
from camport.runtime import Placement
from camport.view import layer_grid, pictured, save_arrays, save_image
from camport.view.save import ARRAYS

if TYPE_CHECKING:
    from torch import Tensor

    from camport.cli.work import Work


@dataclass(frozen=True)
class AtLayer:
    """What is kept of an explanation at one layer.

    Attributes:
        heatmap: [H,W].
        size: of the layer's maps, e.g. "256 x 14 x 14".
        flat: the heatmap is all zeros.
        target: the class, where it is one.
        score: of the target.
    """

    heatmap: np.ndarray
    size: str
    flat: bool
    target: int | None
    score: float


def at_layers(work: "Work", images: "Tensor", target: Any) -> dict[str, AtLayer]:
    """One image [1,3,H,W] explained at every layer, or at those named, by the layer's name."""
    import camport

    found = {}
    # one a layer; the picture says what is flat
    with silenced(FlatMapWarning), silenced(GuardWarning):
        options: dict[str, Any] = {"progress": work.progress, "chunk": work.chunk}
        method = work.methods[0] or "gradcam"
        for name, e in camport.sweep(
            work.loaded.model, images, method, target, work.layer, work.asking, **options
        ):
            found[name] = AtLayer(
                e.heatmap[0].numpy(force=True),
                " x ".join(map(str, (e.activations or [e.raw])[0].shape[1:])),
                not bool(e.heatmap.any()),
                int(e.target[0]) if e.target.dim() == 1 else None,
                float(e.score[0]),
            )
    if not found:
        raise LayerError(
            "at none of the layers there is a map with a path to the score; name some with --layer"
        )
    return found


def write(
    path: Path,
    picture: Image,
    placement: Placement,
    found: dict[str, AtLayer],
    title: str,
    colormap: str,
    alpha: float,
    family: str | None = None,
) -> None:
    """Writes the labelled figure (.png, .jpg), or the heatmaps: .npz by layer,
    .npy one after the other."""
    suffix = path.suffix.lower()
    if suffix in ARRAYS:
        heatmaps: Any = {name: at.heatmap for name, at in found.items()}
        save_arrays(path, np.stack(list(heatmaps.values())) if suffix == ".npy" else heatmaps)
        return
    maps = {name: pictured(placement.to_image(at.heatmap), family) for name, at in found.items()}
    captions = {name: f"{at.size}, flat" if at.flat else at.size for name, at in found.items()}
    drawn = layer_grid(
        picture,
        maps,
        captions=captions,
        title=title,
        colormap=colormap,
        alpha=alpha,
        seen=placement.seen,
    )
    save_image(path, drawn)
