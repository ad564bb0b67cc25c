"""What an explanation holds, and how it shows and saves itself."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from camport.core.maps.heatmap import Scaling, scaled_as
from camport.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image


@dataclass(frozen=True)
class Explanation:
    """One explanation for each image of a batch.

    Attributes:
        heatmap: float32 [b,H,W] in [0,1], at the resolution of the images.
        raw: [b,h,w], the method's own map: layer resolution, signed where the method is,
            not normalised.
        score: [b], the scalar y^c that was explained.
        target: what was explained, e.g. int64 [b] class indices.
        outputs: the model's own output, detached.
        activations: one [b,c,h,w] a target layer; None where the method needs none.
        gradients: likewise, d score / d activations.
        method: registry name of the method.
        layers: names of the target layers, chosen or given.
        family: of the method, see `Explainer`; pictures of "input-gradient" saturate at the 99th
            percentile.
        figures: what the method reports beside its map, such as a completeness gap.
        images: that were explained; None where they were not kept.
        labels: names of the classes, of a model that was bound with them.
    """

    heatmap: Float[Tensor, "b H W"]
    raw: Float[Tensor, "b h w"]
    score: Float[Tensor, " b"]
    target: Tensor
    outputs: Any
    activations: list[Tensor] | None
    gradients: list[Tensor] | None
    method: str
    layers: tuple[str, ...]
    figures: dict[str, Any] = field(default_factory=dict)
    images: Tensor | None = field(default=None, repr=False)
    family: str = ""
    labels: Sequence[str] | None = field(default=None, repr=False)

    def __repr__(self) -> str:
        layers = f" at {', '.join(self.layers)}" if self.layers else ""
        shape, target = tuple(self.heatmap.shape), self.target.tolist()
        return f"<Explanation by {self.method}{layers}, heatmap {shape}, target {target}>"

    def heatmap_as(self, library: Scaling) -> Float[Tensor, "b y x"]:
        """The map as another library scales it, for figures that were made there:
        "grad-cam" or "torchcam"."""
        if library not in get_args(Scaling):
            raise InputError(
                f"heatmap_as({library!r}); it is one of {', '.join(get_args(Scaling))}"
            )
        return scaled_as(self.raw, (self.heatmap.shape[-2], self.heatmap.shape[-1]), library)

    def overlay(
        self, images: Any = None, *, alpha: float = 0.5, colormap: str = "turbo"
    ) -> list[Image]:
        """The heatmap over each image, as PIL images.

        Args:
            images: [b,c,H,W] tensor, or a list of PIL images or arrays; the explained images where
                left out. Tensor values outside [0,1] (normalised input) are stretched to it image
                by image.
            alpha: weight of the colours where the map is hottest.
            colormap: one of `camport.view.colormaps`.
        """
        from camport.view import overlay, pictured

        pictures = displayable(self.images if images is None else images)
        if len(pictures) != self.heatmap.shape[0]:
            raise InputError(f"{len(pictures)} images for {self.heatmap.shape[0]} heatmaps")
        maps = [pictured(heatmap, self.family) for heatmap in self.heatmap.detach().cpu().numpy()]
        return [
            overlay(p, m, alpha=alpha, colormap=colormap)
            for p, m in zip(pictures, maps, strict=True)
        ]

    def figure(
        self, images: Any = None, *, title: str = "", alpha: float = 0.6, colormap: str = "turbo"
    ) -> Figure:
        """Each image beside its overlay as a matplotlib Figure; method, layers,
        target and score stand over it.

        Args:
            images: as for `overlay`, as are `alpha` and `colormap`.
            title: instead of method and layers.

        Raises:
            MissingDependencyError: matplotlib is not installed.
        """
        from camport.view import figure, pictured

        pictures = displayable(self.images if images is None else images)
        maps = [pictured(heatmap, self.family) for heatmap in self.heatmap.detach().cpu().numpy()]
        title = title or " at ".join(part for part in (self.method, ", ".join(self.layers)) if part)
        return figure(pictures, maps, self.captions(), title=title, alpha=alpha, colormap=colormap)

    def captions(self) -> list[str]:
        """For each image what was explained, and its score."""
        targets = (
            self.target.tolist()
            if isinstance(self.target, Tensor)
            and self.target.dim() == 1
            and not self.target.is_floating_point()
            else []
        )
        texts = [f"{self._named(target)}, " for target in targets] or [""] * len(self.score)
        return [
            f"{text}score {score:.4g}"
            for text, score in zip(texts, self.score.tolist(), strict=True)
        ]

    def _named(self, target: int) -> str:
        known = self.labels and 0 <= target < len(self.labels)
        return f"{self.labels[target]} ({target})" if known else f"target {target}"  # type: ignore[index]

    def save(self, path: str | Path, images: Any = None, **options: Any) -> Path:
        """Writes the overlays as one picture (.png, .jpg),
        the heatmap (.npy) or all numbers (.npz)."""
        from camport.view import grid, save_arrays, save_image
        from camport.view.save import check_writable

        path = check_writable(path)
        if path.suffix == ".npy":
            return save_arrays(path, self.heatmap.cpu().numpy())
        if path.suffix == ".npz":
            return save_arrays(path, self.numbers())
        overlays = self.overlay(images, **options)
        return save_image(path, overlays[0] if len(overlays) == 1 else grid([overlays]))

    def numbers(self) -> dict[str, np.ndarray]:
        """All tensors as arrays, named as the outputs of an exported graph."""
        named = {
            "heatmap": self.heatmap,
            "raw": self.raw,
            "score": self.score,
            "target": self.target,
        }
        for name, tensors in (("feature_maps", self.activations), ("gradients", self.gradients)):
            for i, tensor in enumerate(tensors or []):
                named[name if i == 0 else f"{name}_{i}"] = tensor
        return {name: tensor.detach().cpu().numpy() for name, tensor in named.items()}

    def _repr_png_(self) -> bytes:
        from camport.view import Cell, grid

        cells = [
            Cell(picture, text)
            for picture, text in zip(self.overlay(), self.captions(), strict=True)
        ]
        buffer = io.BytesIO()
        grid([cells]).save(buffer, "PNG")
        return buffer.getvalue()


def joined(parts: Sequence[Explanation]) -> Explanation:
    """The explanations of several images as one: rows one after the other,
    the model's outputs as a list."""
    first = parts[0]

    def lists(name: str) -> list[Tensor] | None:
        found = [getattr(part, name) for part in parts]
        return None if found[0] is None else [torch.cat(rows) for rows in zip(*found, strict=True)]

    numbers = [torch.full((len(part.score),), i) for i, part in enumerate(parts)]
    return replace(
        first,
        heatmap=torch.cat([part.heatmap for part in parts]),
        raw=torch.cat([part.raw for part in parts]),
        score=torch.cat([part.score for part in parts]),
        target=torch.cat([part.target for part in parts]),
        outputs=[part.outputs for part in parts],
        activations=lists("activations"),
        gradients=lists("gradients"),
        figures={
            **{
                k: torch.cat([torch.atleast_1d(part.figures[k]) for part in parts])
                for k in first.figures
            },
            "image": torch.cat(numbers),
        },
        images=None
        if first.images is None
        else torch.cat([p.images for p in parts if p.images is not None]),
    )


def displayable(images: Any) -> list[Any]:
    """Images as view takes them: tensors become float arrays [H,W,3] in [0,1],
    everything else stays."""
    if not isinstance(images, Tensor):
        return [images] if not isinstance(images, list | tuple) else list(images)
    pictures = []
    for image in images.detach().float().cpu():
        low, high = image.amin(), image.amax()
        if low < 0 or high > 1:
            image = (image - low) / (high - low).clamp_min(1e-12)
        picture = image.permute(1, 2, 0).numpy()
        pictures.append(np.repeat(picture, 3, 2) if picture.shape[2] == 1 else picture[:, :, :3])
    return pictures
