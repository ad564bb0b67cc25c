"""`camport run`: an exported explainer, without PyTorch."""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from camport.cli import boxes, edge_tasks, fields, figure
from camport.cli.apart import keep_inputs
from camport.cli.given import DECLARED, Given, declared, single, told
from camport.cli.options import Alpha, Colormap, Images, JsonLines, Output, Target
from camport.cli.printing import results_as_json, say, tell
from camport.cli.shown import bounded
from camport.cli.working import working
from camport.errors import InputError
from camport.runtime import Result, class_index, load, open_image
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
    path = check_writable(output)
    keep_inputs([path], [file, *images])
    colormap_table(colormap)
    for image in images:
        check_image(image)
    pictures = map(open_image, images)  # one at a time: a picture may have 89 million pixels
    with working(f"running {file} on {len(images)} image{'s' * (len(images) != 1)}"):
        explainer = load(file, provider or None)
        names = [port.name for port in explainer.outputs]
        if "heatmap" not in names:
            raise InputError(
                f"{file} gives {', '.join(names)} and no heatmap to show; export it with heatmap"
                " among them"
            )
        task, _ = task_of(explainer.metadata)
        check(task, given, "files of")
        kind = described(task).shown
        if kind == "boxes":
            label, given = told(task, target, given, "files of")
            asked = given["box"], given["confidence"]
            boxes.run(explainer, path, images, pictures, label, *asked, colormap, alpha)
            return
        if kind in ASKED:
            label, given = told(task, target, given, "files of")
            edge_tasks.run(explainer, path, images, pictures, label, given, colormap, alpha)
            return
        label = None if explainer.fields else single(target)
        if explainer.fields:
            fields.run(explainer, path, images, pictures, target or [], colormap, alpha)
            return
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
    method = explainer.metadata.get("method")
    title = f"{method.get('name') if isinstance(method, dict) else method} in {file.name}"
    family = figure.family_of(explainer)
    shown, placements = [d[0] for d in drawn], [d[1] for d in drawn]
    figure.write(path, shown, placements, numbers, title, legends, colormap, alpha, family=family)
    for image, text, one in zip(images, legends, facts, strict=True):
        tell(image, text, path, file=str(file), **one)
    say(f"wrote {path}")


def _explained(result: Result, target: int) -> int | None:
    """The class that was explained; -1 was the top one,
    which a file without `outputs` does not tell."""
    if target >= 0:
        return target
    return int(np.argmax(result.outputs[0])) if "outputs" in result else None


def _score(result: Result) -> float | None:
    return float(result.score[0]) if "score" in result else None
