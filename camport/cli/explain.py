"""`camport explain`: an explanation in PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PIL.Image import Image

from camport.cli import boxes, fields, figure, folders, layers, side_by_side, tasks
from camport.cli.allocator import keep_freed_memory
from camport.cli.apart import keep_inputs
from camport.cli.given import DECLARED, Given, adapter_of, declared
from camport.cli.loading import load as load
from camport.cli.loading import place
from camport.cli.method_options import ALL, AdapterOptions, Options, adapter_with, methods_of
from camport.cli.options import (
    Adapter,
    Alpha,
    Chunk,
    Colormap,
    Device,
    Images,
    Inputs,
    JsonLines,
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
from camport.cli.printing import results_as_json, say, tell
from camport.cli.rows import Row, only_row
from camport.cli.shown import at_layers, bounded
from camport.cli.work import Work
from camport.cli.working import working
from camport.errors import InputError
from camport.runtime.image_file import check_image
from camport.targets.task import ASKED, described
from camport.view import check_writable, colormap_table
from camport.view.save import SUFFIXES

if TYPE_CHECKING:
    import numpy as np

    from camport.core.explanation import Explanation


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
    device: Device = "cpu",
    as_json: JsonLines = False,
) -> None:
    """Explain what a model sees in images, in PyTorch."""
    if as_json:
        results_as_json()
    one_each, images = folders.one_each(output, images), folders.files(images)
    every = ALL in (method or [])
    several = every or len(method or []) > 1 or output.suffix.lower() == side_by_side.REPORT
    settings = {
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
        jobs = folders.jobs(output, images, settings)
        if not jobs:
            return  # each has its picture
    elif several:
        side_by_side.check_format(output)
        jobs = [(check_writable(output, side_by_side.FORMATS), images)]
    else:
        jobs = [(check_writable(output, (*SUFFIXES, side_by_side.REPORT)), images)]
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
        folders.begin(output, settings)
    named = f"by {', '.join(dict.fromkeys(method))} " if method else ""
    count = sum(len(group) for _, group in jobs)
    what = f"{count} image{'s' * (count != 1)} {named}with {model}"
    with working(f"explaining {what}{' at many layers' * sweep}") as progress:
        loaded = load(model, weights, labels, preprocess, trust_checkpoint, inputs)
        loaded = place(loaded, device)
        task = adapter or loaded.adapter
        work = Work(
            model=model,
            loaded=loaded,
            task=task,
            asking=adapter_with(adapter_of(task, given), adapter_option),
            methods=methods,
            every=every,
            layer=layer,
            targets=target or [],
            given=given,
            views=views,
            sweep=sweep,
            chunk=chunk,
            device=device,
            colormap=colormap,
            alpha=alpha,
            progress=progress,
        )
        for path, group in jobs:
            write = side_by_side.explain if several else _writer(work)
            write(work, path, group, folders.opened(group, count > 1))


def _writer(work: Work) -> Callable[[Work, Path, Sequence[Path], Iterable[Image]], None]:
    """What draws one method for the task."""
    if work.sweep:
        return _sweep
    if work.views:
        return _classes
    kind = described(work.task).shown
    if kind == "boxes":
        return boxes.explain
    if kind in ASKED:
        return tasks.explain
    return fields.explain if work.bound[0].adapter.fields else _classes


def _sweep(work: Work, path: Path, images: Sequence[Path], pictures: Iterable[Image]) -> None:
    """One image at many layers."""
    (picture,), labels = pictures, work.loaded.labels
    pixels, placement = work.loaded.preprocess.apply(picture)
    row = only_row(work, work.bound[0], picture, pixels, placement)
    picture, placement = bounded(picture, placement)
    found = layers.at_layers(work, work.batch(pixels), row.target)
    last, names = list(found.values())[-1], list(found)
    text = _text(row, last.target, last.score, labels)
    method = work.bound[0].explainer
    title = f"{method.title} of {work.model}: {text}"
    layers.write(path, picture, placement, found, title, work.colormap, work.alpha, method.family)
    told = f"{text}, {len(found)} layers from {names[0]} to {names[-1]}"
    facts = {**figure.named_class(last.target, labels), "score": last.score}
    tell(images[0], told, path, method=method.name, layers=names, **facts)
    say(f"wrote {path}")


def _classes(work: Work, path: Path, images: Sequence[Path], pictures: Iterable[Image]) -> None:
    """A map an image, with the views that were asked for."""
    (bound,), labels = work.bound, work.loaded.labels
    figure.check_method(work.views, type(bound.explainer))
    shown, placements, numbers, legends, facts = [], [], [], [], []
    for picture in pictures:
        pixels, placement = work.loaded.preprocess.apply(picture)
        row = only_row(work, bound, picture, pixels, placement)
        picture, placement = bounded(picture, placement)
        shown.append(picture)
        placements.append(placement)
        e = bound(work.batch(pixels), row.target, progress=work.progress)
        numbers.append(figure.kept({**e.numbers(), **_signed(e)}, path))
        explained, score = int(e.target[0]) if e.target.dim() == 1 else None, float(e.score[0])
        legends.append(_text(row, explained, score, labels))
        facts.append({**figure.named_class(explained, labels), "score": score})
    where = at_layers(bound.layers)
    title = f"{bound.explainer.title} of {work.model}"
    title = f"Feature maps of {work.model}" if "grid" in work.views else title
    figure.write(
        *(path, shown, placements, numbers, title + where, legends, work.colormap, work.alpha),
        *(work.views, bound.explainer.family),
    )
    for image, text, one in zip(images, legends, facts, strict=True):
        told = text + (f", layer {', '.join(bound.layers)}" if bound.layers else "")
        tell(image, told, path, method=bound.explainer.name, layers=bound.layers, **one)
    say(f"wrote {path}")


def _text(row: Row, target: int | None, score: float, labels: Sequence[str]) -> str:
    """What was explained and its score: as it was asked, or the class that was found."""
    return f"{row.text}, score {score:.2f}" if row.text else figure.legend(target, score, labels)


def _signed(explanation: Explanation) -> dict[str, np.ndarray]:
    """The signed image that a method gives beside its map, [1,c,H,W]."""
    gradient = explanation.figures.get("gradient")
    return {} if gradient is None else {"gradient": gradient.cpu().numpy()}
