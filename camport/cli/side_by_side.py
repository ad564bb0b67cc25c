"""`camport explain` by several methods: a picture or a report with a column for each,
a row for each class."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PIL.Image import Image

from camport.cli.figure import legend
from camport.cli.printing import say
from camport.cli.shown import bounded
from camport.errors import LayerError, MethodError, OutputError
from camport.runtime import class_index
from camport.view import Map, Shown, map_grid, pictured, save_image, save_report

if TYPE_CHECKING:
    from camport.core.bound import Bound
    from camport.models import Loaded

REPORT = ".html"
FORMATS = (REPORT, ".png", ".jpg", ".jpeg")


def check_format(path: Path) -> None:
    """Refuses what several methods are not written as."""
    if path.suffix.lower() not in FORMATS:
        raise OutputError(
            f"{path}: several methods are drawn; what can be written is {', '.join(FORMATS)}"
        )


def explain(
    path: Path,
    images: Sequence[Path],
    pictures: Iterable[Image],
    loaded: Loaded,
    bound: Sequence[Bound],
    every: bool,
    targets: Sequence[str] | None,
    colormap: str,
    alpha: float,
    progress: Callable[[int, int], None],
) -> None:
    """Explains each image by each method for each class, and writes the picture or the report.

    Args:
        every: the methods are all there are: those that do not fit the model are left out,
            with the reason.
    """
    import torch

    classes: list[int | None] = [class_index(text, loaded.labels or None) for text in targets or []]
    classes = classes or [None]
    found: list[Shown] = []
    done, total = 0, len(images) * len(bound) * len(classes)
    left_out: dict[str, str] = {}
    for image, picture in zip(images, pictures, strict=True):
        pixels, placement = loaded.preprocess.apply(picture)
        shown, placement = bounded(picture, placement)
        maps = []
        for index in classes:
            for one in bound:
                done += 1
                progress(done, total)
                if one.explainer.name in left_out:
                    continue
                try:
                    e = one(torch.from_numpy(pixels)[None], index)
                except (MethodError, LayerError) as error:
                    if not every:
                        raise
                    left_out[one.explainer.name] = str(error)
                    continue
                chosen = int(e.target[0]) if e.target.dim() == 1 else None
                text = legend(chosen, float(e.score[0]), loaded.labels)
                heat = pictured(placement.to_image(e.heatmap[0].cpu().numpy()), e.family)
                maps.append(Map(heat, type(one.explainer).title, text.rpartition(", ")[0], text))
                say(f"{image}: {one.explainer.name}, {text}")
        found.append(Shown(shown, maps, image.name))
    for name, why in left_out.items():
        say(f"camport: note: {name} is left out: {why}", err=True)
    if path.suffix.lower() == REPORT:
        save_report(
            path, found, title=f"{len(images)} image{'s' * (len(images) != 1)}", colormap=colormap
        )
    else:
        save_image(path, map_grid(found, colormap=colormap, alpha=alpha))
    say(f"wrote {path}")
