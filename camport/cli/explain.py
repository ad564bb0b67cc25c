"""`camport explain`: an explanation in PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from PIL.Image import Image

from camport.cli import boxes, fields, figure, folders, layers, side_by_side, tasks
from camport.cli.allocator import keep_freed_memory
from camport.cli.apart import keep_inputs
from camport.cli.given import DECLARED, Given, adapter_of, declared, single, told
from camport.cli.loading import load as load
from camport.cli.method_options import ALL, AdapterOptions, Options, adapter_with, methods_of
from camport.cli.options import (
    Adapter,
    Alpha,
    Chunk,
    Colormap,
    Images,
    Inputs,
    Labels,
    Layer,
    Methods,
    Model,
    Output,
    Preprocessing,
    Sweep,
    Target,
    Trust,
    Views,
    Weights,
)
from camport.cli.printing import say
from camport.cli.shown import at_layers, bounded
from camport.cli.working import working
from camport.errors import InputError
from camport.runtime import class_index, open_image
from camport.runtime.image_file import check_image
from camport.targets.task import ASKED, described
from camport.view import check_writable, colormap_table

if TYPE_CHECKING:
    import numpy as np

    from camport.core.adapter import Adapter as Task
    from camport.core.bound import Bound
    from camport.core.explainer import Explainer
    from camport.core.explanation import Explanation
    from camport.models import Loaded


@declared
def explain(
    images: Images,
    model: Model,
    output: Output,
    weights: Weights = None,
    method: Methods = None,
    option: Options = None,
    target: Target = None,
    layer: Layer = None,
    adapter: Adapter = None,
    adapter_option: AdapterOptions = None,
    labels: Labels = None,
    preprocess: Preprocessing = None,
    colormap: Colormap = "turbo",
    alpha: Alpha = 0.6,
    view: Views = None,
    sweep: Sweep = False,
    given: Given = DECLARED,
    trust_checkpoint: Trust = False,
    inputs: Inputs = None,
    chunk: Chunk = None,
) -> None:
    """Explain what a model sees in images, in PyTorch."""
    one_each, images = folders.one_each(output, images), folders.files(images)
    several = (
        len(method or []) > 1
        or ALL in (method or [])
        or output.suffix.lower() == side_by_side.REPORT
    )
    asked = {
        "model": model,
        "weights": weights,
        "method": method,
        "option": option,
        "target": target,
        "layer": layer,
        "adapter": adapter,
        "adapter-option": adapter_option,
        "labels": labels,
        "preprocess": preprocess,
        "colormap": colormap,
        "alpha": alpha,
        "view": view,
        "input": inputs,
        **given,
    }
    if one_each:
        jobs = folders.jobs(output, images, asked)
    elif several:
        side_by_side.check_format(output)
        jobs = [(check_writable(output, side_by_side.FORMATS), images)]
    else:
        jobs = [(check_writable(output), images)]
    keep_inputs(
        [path for path, _ in jobs], [*images, weights, labels, *(inputs or [])], model=model
    )
    colormap_table(colormap)
    views = view or []
    for path, group in jobs:
        figure.check_views(views, path, len(group), len(layer or []))
    if "all" in (layer or []):
        raise InputError("--layer all: a picture of every layer, one by one, is made by --sweep")
    if several and (views or sweep):
        raise InputError(
            "--view and --sweep draw one method; several are drawn side by side, or in a report"
            " (.html)"
        )
    if sweep and (views or len(images) > 1):
        raise InputError(
            f"--sweep draws overlays of one image; given are {len(images)} and {len(views)} views"
        )
    keep_freed_memory()
    for image in images:
        check_image(image)
    methods = methods_of(method, option)
    if one_each:
        folders.begin(output, asked)
    named = f"by {', '.join(dict.fromkeys(method))} " if method else ""
    count = sum(len(group) for _, group in jobs)
    what = f"{count} image{'s' * (count != 1)} {named}with {model}"
    with working(f"explaining {what}{' at many layers' * sweep}") as progress:
        loaded = load(model, weights, labels, preprocess, trust_checkpoint, inputs)
        import camport

        task = adapter or loaded.adapter
        asking, kind = adapter_with(adapter_of(task, given), adapter_option), described(task).shown
        if several and (kind == "boxes" or kind in ASKED):
            raise InputError(
                f"several methods and reports are for classes, and the task is {task}: give one"
                " --method"
            )

        @cache  # whatever the number of files, a model is copied and its layer chosen once
        def bound() -> list[Bound]:
            where = None if sweep else layer or loaded.layer
            return [camport.bind(loaded.model, one, where, asking, chunk=chunk) for one in methods]

        for path, images in jobs:
            # one at a time: a picture may have 89 million pixels
            pictures = map(open_image, images)
            _explain(
                *(
                    path,
                    images,
                    pictures,
                    loaded,
                    bound,
                    task,
                    several,
                    ALL in (method or []),
                    target,
                    layer,
                ),
                *(methods[0], asking, colormap, alpha, views, sweep, given, chunk, model, progress),
            )


def _explain(
    path: Path,
    images: Sequence[Path],
    pictures: Iterable[Image],
    loaded: Loaded,
    bind: Callable[[], list[Bound]],
    task: str,
    several: bool,
    every: bool,
    target: list[str] | None,
    layer: list[str] | None,
    method: str | Explainer | None,
    asking: str | Task,
    colormap: str,
    alpha: float,
    views: Sequence[str],
    sweep: bool,
    given: Given,
    chunk: int | None,
    model: str,
    progress: Callable[[int, int], None],
) -> None:
    """One file of one or several images."""
    import torch

    kind = described(task).shown
    if kind == "boxes" and not sweep:
        named, given = told(task, target, given)
        boxes.explain(
            *(
                path,
                images,
                pictures,
                loaded,
                bind()[0],
                named,
                given["box"],
                colormap,
                alpha,
                progress,
            ),
        )
        return
    if kind in ASKED and not sweep and not views:
        named, given = told(task, target, given)
        tasks.explain(
            *(task, path, images, pictures, loaded, bind, named, given, colormap, alpha, progress),
        )
        return
    if several:
        side_by_side.explain(
            *(path, images, pictures, loaded, bind(), every, target, colormap, alpha, progress),
        )
        return
    (bound,) = bind()
    figure.check_method(views, type(bound.explainer))
    if bound.adapter.fields and not sweep and not views:
        texts = target or []
        fields.explain(path, images, pictures, loaded, bound, texts, colormap, alpha, progress)
        return
    label = single(target)
    index = None if label is None else class_index(label, loaded.labels or None)
    drawn, numbers, legends = [], [], []
    for picture in pictures:
        pixels, placement = loaded.preprocess.apply(picture)
        drawn.append(bounded(picture, placement))
        if sweep:
            found = layers.at_layers(
                loaded, pixels[None], method, index, layer, asking, progress, chunk
            )
            continue
        e = bound(torch.from_numpy(pixels)[None], index, progress=progress)
        numbers.append(figure.kept({**e.numbers(), **_signed(e)}, path))
        explained = int(e.target[0]) if e.target.dim() == 1 else None
        legends.append(figure.legend(explained, float(e.score[0]), loaded.labels))
    title, family = f"{bound.explainer.title} of {model}", bound.explainer.family
    if sweep:
        last = list(found.values())[-1]
        text = figure.legend(last.target, last.score, loaded.labels)
        layers.write(path, *drawn[0], found, f"{title}: {text}", colormap, alpha, family)
        say(
            f"{images[0]}: {text}, {len(found)} layers from {next(iter(found))} to"
            f" {list(found)[-1]}"
        )
        say(f"wrote {path}")
        return
    where = at_layers(bound.layers)
    title = f"Feature maps of {model}" if "grid" in views else title
    shown, placements = [d[0] for d in drawn], [d[1] for d in drawn]
    figure.write(
        path, shown, placements, numbers, title + where, legends, colormap, alpha, views, family
    )
    for image, text in zip(images, legends, strict=True):
        say(f"{image}: {text}" + (f", layer {', '.join(bound.layers)}" if bound.layers else ""))
    say(f"wrote {path}")


def _signed(explanation: Explanation) -> dict[str, np.ndarray]:
    """The signed image that a method gives beside its map, [1,c,H,W]."""
    gradient = explanation.figures.get("gradient")
    return {} if gradient is None else {"gradient": gradient.cpu().numpy()}
