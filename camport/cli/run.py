"""`camport run`: an exported explainer, without PyTorch."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL.Image import Image

from camport.cli import boxes, edge_tasks, fields, figure, folders
from camport.cli.apart import keep_inputs
from camport.cli.given import DECLARED, Given, declared, single, told
from camport.cli.options import Alpha, Colormap, Images, JsonLines, Output, Target
from camport.cli.printing import results_as_json, say, tell
from camport.cli.shown import bounded
from camport.cli.working import working
from camport.errors import InputError
from camport.runtime import Explainer, Result, class_index, load
from camport.runtime.image_file import check_image, is_picture
from camport.targets.options import check
from camport.targets.task import ASKED, described, task_of
from camport.view import check_writable, colormap_table


@declared
def run(
    file: Annotated[Path, typer.Argument(metavar="FILE.onnx", help="What `camport export` wrote.")],
    images: Images,
    output: Output,
    target: Target = None,
    provider: Annotated[
        list[str] | None,
        typer.Option(help="Execution provider, e.g. cpu or cuda; the best that works if left out."),
    ] = None,
    colormap: Colormap = "turbo",
    alpha: Alpha = 0.6,
    given: Given = DECLARED,
    as_json: JsonLines = False,
) -> None:
    """Explain images with an exported file, with onnxruntime alone."""
    if as_json:
        results_as_json()
    if is_picture(file):
        raise InputError(f"{file} is a picture; the file comes first: camport run FILE.onnx {file}")
    one_each, images = folders.one_each(output, images), folders.files(images)
    settings = {
        "file": file,
        "provider": provider,
        "target": target,
        "colormap": colormap,
        "alpha": alpha,
        **given,
    }
    if one_each:
        jobs = folders.jobs(output, images, settings)
    else:
        jobs = [(check_writable(output), images)]
    keep_inputs([path for path, _ in jobs], [file, *images])
    colormap_table(colormap)
    for image in images:
        check_image(image)
    if not jobs:
        return
    if one_each:
        folders.begin(output, settings)
    count = sum(len(group) for _, group in jobs)
    with working(f"running {file} on {count} image{'s' * (count != 1)}") as progress:
        explainer = load(file, provider or None)
        names = [port.name for port in explainer.outputs]
        if "heatmap" not in names:
            raise InputError(
                f"{file} gives {', '.join(names)} and no heatmap to show; export it with heatmap"
                " among them"
            )
        task, _ = task_of(explainer.metadata)
        check(task, given, "files of")
        for done, (path, group) in enumerate(jobs):
            progress(done, len(jobs))
            pictures = folders.opened(group, count > 1)
            _write(explainer, path, group, pictures, target, given, colormap, alpha)


def _write(
    explainer: Explainer,
    path: Path,
    images: Sequence[Path],
    pictures: Iterable[Image],
    target: list[str] | None,
    given: Given,
    colormap: str,
    alpha: float,
) -> None:
    """One file of one or several images."""
    task, _ = task_of(explainer.metadata)
    kind = described(task).shown
    if kind == "boxes":
        label, given = told(task, target, given, "files of")
        asked = given["box"], given["confidence"]
        boxes.run(explainer, path, images, pictures, label, *asked, colormap, alpha)
    elif kind in ASKED:
        label, given = told(task, target, given, "files of")
        edge_tasks.run(explainer, path, images, pictures, label, given, colormap, alpha)
    elif explainer.fields:
        fields.run(explainer, path, images, pictures, target or [], colormap, alpha)
    else:
        _classes(explainer, path, images, pictures, single(target), colormap, alpha)


def _classes(
    explainer: Explainer,
    path: Path,
    images: Sequence[Path],
    pictures: Iterable[Image],
    label: str | None,
    colormap: str,
    alpha: float,
) -> None:
    """A map an image."""
    index = -1 if label is None else class_index(label, explainer.labels)
    drawn, numbers, legends, facts = [], [], [], []
    for picture in pictures:
        pixels, placement = explainer.preprocess.apply(picture)
        drawn.append(bounded(picture, placement))
        result = explainer(pixels[None], target=index)
        numbers.append(figure.kept(dict(result), path))
        explained, score = _explained(result, index), _score(result)
        legends.append(figure.legend(explained, score, explainer.labels))
        facts.append({**figure.named_class(explained, explainer.labels), "score": score})
    method, name = explainer.metadata.get("method"), explainer.path.name
    title = f"{method.get('name') if isinstance(method, dict) else method} in {name}"
    family = figure.family_of(explainer)
    shown, placements = [d[0] for d in drawn], [d[1] for d in drawn]
    figure.write(path, shown, placements, numbers, title, legends, colormap, alpha, family=family)
    for image, text, one in zip(images, legends, facts, strict=True):
        tell(image, text, path, file=str(explainer.path), **one)
    say(f"wrote {path}")


def _explained(result: Result, target: int) -> int | None:
    """The class that was explained; -1 was the top one,
    which a file without `outputs` does not tell."""
    if target >= 0:
        return target
    return int(np.argmax(result.outputs[0])) if "outputs" in result else None


def _score(result: Result) -> float | None:
    return float(result.score[0]) if "score" in result else None
