"""Several methods, targets and layers on the same images, side by side: a figure, a report,
an animation."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor, nn

from camport.binding import bind
from camport.core.adapter import Adapter
from camport.core.describe import titles_of
from camport.core.explainer import Explainer
from camport.core.explanation import Explanation, displayable
from camport.core.running.layers import Layers
from camport.errors import InputError
from camport.view import Map, Shown, check_writable, map_grid, pictured, save_image, save_report
from camport.view.shown import titled

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = (".html", ".png", ".jpg", ".jpeg")


@dataclass(frozen=True)
class Comparison:
    """Explanations of the same images by several methods, for several targets.

    Attributes:
        methods: the columns.
        targets: the rows of each image, as text.
        explanations: one for each target and method, each of all images.
        pictures: the images as they are shown.
        titles: of the images.
        model: what the title calls it.
    """

    methods: tuple[str, ...]
    targets: tuple[str, ...]
    explanations: tuple[tuple[Explanation, ...], ...]
    pictures: tuple[Any, ...]
    titles: tuple[str, ...]
    model: str = ""

    @property
    def title(self) -> str:
        """Over the figure and the report, e.g. "Grad-CAM, LayerCAM of ResNet at layer4"."""
        return titled(self.methods, [one.layers for one in self.explanations[0]], self.model)

    def grid(
        self,
        *,
        colormap: str = "turbo",
        alpha: float = 0.6,
        cell: int | None = 240,
        title: str | None = None,
    ) -> Image:
        """A row for each image and target, a column for each method, the image first.

        Args:
            colormap: of `camport.view.COLORMAPS`, as `alpha` is `overlay`'s.
            cell: longer side of a picture in pixels.
            title: over the figure; None: the methods, the model and the layer.
        """
        return map_grid(
            self.shown(),
            title=self.title if title is None else title,
            colormap=colormap,
            alpha=alpha,
            cell=cell,
        )

    def shown(self) -> list[Shown]:
        """Each image with its maps, as `camport.view` draws them."""
        rows = list(zip(self.targets, self.explanations, strict=True))
        return [
            Shown(
                picture,
                [
                    Map(_heat(found, i), method, target, _score(found, i))
                    for target, row in rows
                    for method, found in zip(self.methods, row, strict=True)
                ],
                self.titles[i],
            )
            for i, picture in enumerate(self.pictures)
        ]

    def save(
        self, path: str | os.PathLike[str], *, title: str | None = None, colormap: str = "turbo"
    ) -> Path:
        """Writes the report (.html), which has a slider between image and map, or the grid (.png,
        .jpg).

        Args:
            path: the suffix picks the format.
            title: over it; None: the methods, the model and the layer.
            colormap: of `camport.view.COLORMAPS`.

        Raises:
            OutputError: another suffix, or a place where nothing can be written.
        """
        path = check_writable(path, FORMATS)
        if path.suffix != ".html":
            return save_image(path, self.grid(colormap=colormap, title=title))
        title = self.title if title is None else title
        return save_report(path, self.shown(), title=title, colormap=colormap)

    def _repr_png_(self) -> bytes:
        import io

        buffer = io.BytesIO()
        self.grid().save(buffer, "PNG")
        return buffer.getvalue()


def compare(
    model: nn.Module | str | os.PathLike[str],
    images: Tensor,
    methods: Sequence[str | type[Explainer] | Explainer] = (
        "gradcam",
        "layercam",
        "guided_gradcam",
    ),
    targets: Sequence[Any] | None = None,
    layer: Layers | None = None,
    adapter: str | type[Adapter] | Adapter = "classification",
    *,
    pictures: Any = None,
    titles: Sequence[str] = (),
    labels: Sequence[str] | None = None,
    **options: Any,
) -> Comparison:
    """Explains the same images by several methods, for several targets.

    Args:
        model: as for `camport.bind`, as are `layer`, `adapter` and `options`.
        images: [b,c,H,W].
        methods: names, classes or instances; an instance brings its options.
        targets: each is a target of `camport.explain`: a class, its name in `labels`, one for each
            image, ...; None explains the model's own choice alone.
        pictures: what is drawn on, one for each image and of its size; None draws the images
            themselves.
        titles: of the images.
        labels: the classes' names.

    Raises:
        InputError: no method, no target, or other numbers of pictures or titles than images.
        CamportError: as `camport.bind` and the call.
    """
    if isinstance(methods, str) or not methods:
        raise InputError(f"methods is {methods!r}; give a list of one or more")
    if targets is not None and (isinstance(targets, str | Tensor) or not len(targets)):
        raise InputError(f"targets is {targets!r}; give a list, one entry for each row, or None")
    names = {name: i for i, name in enumerate(labels or ())}
    asked = [names.get(t, t) if isinstance(t, str) else t for t in (targets or [None])]
    bound = [bind(model, method, layer, adapter, labels=labels, **options) for method in methods]
    rows = tuple(tuple(one(images, target) for one in bound) for target in asked)
    shown = displayable(images if pictures is None else pictures)
    for given, what in ((shown, "pictures"), (titles, "titles")):
        if given and len(given) != images.shape[0]:
            raise InputError(f"{len(given)} {what} for {images.shape[0]} images")
    texts = tuple(_named(target, rows[i], labels) for i, target in enumerate(targets or [None]))
    return Comparison(
        *(tuple(titles_of([one.explainer for one in bound])), texts, rows, tuple(shown)),
        titles=tuple(titles) or ("",) * len(shown),
        model=_called(model),
    )


def _called(model: Any) -> str:
    """A module by its class, one that was loaded likewise, a file by its name."""
    if isinstance(model, str | os.PathLike):
        return Path(model).name
    return type(model if isinstance(model, nn.Module) else model.model).__name__


def _named(target: Any, row: Sequence[Explanation], labels: Sequence[str] | None) -> str:
    """What a row is about, in words."""
    if isinstance(target, str):
        return target
    if isinstance(target, int) and labels and 0 <= target < len(labels):
        return labels[target]
    if target is None:
        chosen = row[0].target
        same = (
            chosen.dim() == 1 and len(set(chosen.tolist())) == 1 and not chosen.is_floating_point()
        )
        return _named(int(chosen[0]), row, labels) if same else ""
    return str(target) if isinstance(target, int | list | tuple) else ""


def _heat(found: Explanation, row: int) -> np.ndarray:
    return pictured(found.heatmap[row].detach().cpu().numpy(), found.family)


def _score(found: Explanation, row: int) -> str:
    return f"score {float(found.score[row]):.3g}"
