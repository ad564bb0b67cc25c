"""`camport evaluate`: which method to trust on a model."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from camport.cli.allocator import keep_freed_memory
from camport.cli.apart import keep_inputs
from camport.cli.listings import table as print_table
from camport.cli.loading import load, place
from camport.cli.options import (
    Adapter,
    Chunk,
    Device,
    Inputs,
    Labels,
    Layer,
    Model,
    Preprocessing,
    Trust,
    Weights,
)
from camport.cli.printing import results_as_json, say, say_result
from camport.cli.working import counting
from camport.errors import MissingDependencyError, silenced
from camport.files import check_folder
from camport.targets.task import described

if TYPE_CHECKING:
    from camport.evaluation import Table

RECORD = "evaluation.sqlite"
WRITTEN = ("report.html", "table.csv", "table.parquet", "values.csv", "values.parquet")

METHODS = ("gradcam", "gradcam++", "hirescam", "layercam", "eigencam", "saliency")
"""Methods of one pass, evaluated where none is named."""


def evaluate(
    model: Model,
    data: Annotated[
        str,
        typer.Option(
            metavar="DATA",
            help=(
                "demo:scenes, demo:photographs, a folder of images (subfolders are classes) or a"
                " COCO .json file."
            ),
        ),
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="DIR", help="Folder for record, tables and report."),
    ],
    method: Annotated[
        list[str] | None,
        typer.Option(
            help=(
                "A method, with options as in 'rise(samples=500)'; several; 'all'. Six fast ones if"
                " none."
            )
        ),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(help="A metric (`camport metrics`), with options as methods; several; 'all'."),
    ] = None,
    count: Annotated[
        int | None, typer.Option(min=1, help="Only the first so many examples.")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Examples at a time.")] = 8,
    images: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where COCO's images are, if not beside the file."),
    ] = None,
    masks: Annotated[
        bool,
        typer.Option("--masks", help="COCO's regions are the objects' masks and not their boxes."),
    ] = False,
    weights: Weights = None,
    layer: Layer = None,
    adapter: Adapter = None,
    labels: Labels = None,
    preprocess: Preprocessing = None,
    device: Device = "cpu",
    trust_checkpoint: Trust = False,
    inputs: Inputs = None,
    chunk: Chunk = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the figures as a line of JSON, and nothing else.")
    ] = False,
) -> None:
    """Measure methods by metrics on a model and images; started again, it goes on where it was."""
    if as_json:
        results_as_json()
    check_folder(output)
    keep_inputs(
        [output / name for name in (RECORD, *WRITTEN)],
        [data, weights, labels, *(inputs or [])],
        model=model,
    )
    for package in ("scipy", "pyarrow", "matplotlib"):
        _need(package)
    keep_freed_memory()
    loaded = load(model, weights, labels, preprocess, trust_checkpoint, inputs)
    import camport
    from camport.evaluation import Evaluated, open_data
    from camport.evaluation import evaluate as run
    from camport.evaluation.report import verdict, write_report
    from camport.evaluation.store import Store

    network = place(loaded, device).model
    task = adapter or loaded.adapter
    where: Any = layer or loaded.layer
    subject = Evaluated(
        network,
        lambda net, explainer: camport.bind(net, explainer, where, task, chunk=chunk),
        loaded.preprocess,
        loaded.labels,
        described(task).shown == "boxes",
        {
            "model": model,
            "weights": weights or "its own",
            "layer": where or "chosen",
            "adapter": task,
        }
        # which a record that is gone on with has to be of
        | ({"inputs": inputs} if inputs else {}),
    )
    size = loaded.preprocess.size
    side: dict[str, Any] = {} if size is None else {"size": size[0]}
    examples = open_data(
        data, count=count, images=images, masks=masks, **side, **described(task).evaluated
    )
    methods = sorted(camport.methods()) if method == ["all"] else method or list(METHODS)
    known = examples[0].boxes is not None or examples[0].mask is not None
    metrics = _metrics(metric, known)
    with counting(f"evaluating {len(methods)} methods on {len(examples)} examples") as progress:
        found = run(subject, methods, metrics, examples, output, batch=batch, progress=progress)
    found.write(output)
    with Store(output, {}) as store, silenced(Warning):  # matplotlib's, of glyphs and layouts
        write_report(output, f"{model} on {data}", found, store, examples, loaded.preprocess)
    cells = [{**asdict(cell), "rank": found.ranks.get(cell.method)} for cell in found.cells]
    say_result({"cells": cells, "refused": found.refusals, "output": str(output)})
    _print(found)
    say(*verdict(found).splitlines())
    for name in WRITTEN:
        say(f"wrote {output / name}")


def _metrics(chosen: list[str] | None, region: bool) -> list[str]:
    import camport

    fitting = [i.name for i in camport.metrics().values() if region or "region" not in i.needs]
    if chosen == ["all"]:
        return fitting
    return chosen or [
        name
        for name in ("insertion_deletion", "pointing_game", "energy_in_region")
        if name in fitting
    ]


def _print(found: "Table") -> None:
    metrics = list(dict.fromkeys(c.metric for c in found.cells))
    rows = []
    for name in sorted(
        dict.fromkeys(c.method for c in found.cells), key=lambda m: found.ranks.get(m, float("inf"))
    ):
        cells = [found.cell(name, metric) for metric in metrics]
        figures = [f"{c.mean:.3f} ({c.low:.3f} to {c.high:.3f})" if c else "-" for c in cells]
        rows.append((name, *figures, f"{found.ranks[name]:.1f}" if name in found.ranks else "-"))
    print_table(("method", *metrics, "mean rank"), rows)
    for name, metric, reason in found.refusals:
        say(f"{name}{f', {metric}' * bool(metric)}: {reason}")


def _need(package: str) -> None:
    from importlib.util import find_spec

    if find_spec(package) is None:
        raise MissingDependencyError(
            f'{package} is needed for this: pip install "camport[evaluate]"'
        )
