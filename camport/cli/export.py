"""`camport export`: model, gradient and heatmap as one file."""

import dataclasses
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from camport.cli import calibration as calibration_images
from camport.cli import tracing
from camport.cli.apart import keep_inputs
from camport.cli.given import DECLARED, Given, adapter_of, declared
from camport.cli.loading import load
from camport.cli.method_options import AdapterOptions, Options, adapter_with, method_of
from camport.cli.options import (
    Adapter,
    Chunk,
    Inputs,
    Labels,
    Layer,
    Method,
    Model,
    Output,
    Preprocessing,
    Trust,
    Weights,
)
from camport.cli.printing import results_as_json, say, say_result
from camport.cli.working import staged
from camport.errors import InputError, OutputError
from camport.files import check_folder, place_of
from camport.runtime import Preprocess
from camport.runtime.image_file import MAX_PIXELS
from camport.view import check_writable

FORMATS = {".onnx": "to_onnx", ".pt2": "to_pt2", ".pt": "to_torchscript"}
"""Suffix -> the function of `camport.export` that writes such a file."""

ONNX_ALONE = ("opset", "with_preprocess", "calibration", "nms", "one_image")
NOT_TORCHSCRIPT = ("dynamic", "precision")


@declared
def export(
    model: Model,
    output: Output,
    weights: Weights = None,
    method: Method = None,
    option: Options = None,
    target: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CLASS",
            help=(
                "What is asked while tracing, as in `camport explain`; the file takes any. For"
                " tasks that have to be asked something."
            ),
        ),
    ] = None,
    layer: Layer = None,
    adapter: Adapter = None,
    adapter_option: AdapterOptions = None,
    labels: Labels = None,
    preprocess: Preprocessing = None,
    size: Annotated[
        str | None,
        typer.Option(metavar="HxW", help="Image size to trace with, where the model names none."),
    ] = None,
    images: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="PATH",
            help=(
                "Image file or folder to trace and to compare with, in place of shipped ones; may"
                " be given several "
                "times."
            ),
        ),
    ] = None,
    outputs: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,...", help="Outputs of the file, e.g. score,heatmap; all if left out."
        ),
    ] = None,
    dynamic: Annotated[
        str | None,
        typer.Option(metavar="AXES", help="batch, or batch+size: height and width free too."),
    ] = None,
    opset: Annotated[
        int | None, typer.Option(help="Version of the ONNX operators, 18 to 23; 20 if left out.")
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="float32, float16 or int8; int8 needs --calibration."),
    ] = None,
    calibration: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="PATH",
            help="Image file or folder that calibrates int8; may be given several times.",
        ),
    ] = None,
    with_preprocess: Annotated[
        bool,
        typer.Option(
            "--with-preprocess", help="The file takes photographs as they are, uint8 (b,h,w,3)."
        ),
    ] = False,
    given: Given = DECLARED,
    trust_checkpoint: Trust = False,
    inputs: Inputs = None,
    chunk: Chunk = None,
    report: Annotated[
        bool, typer.Option("--report", help="Store the report beside the file, as JSON.")
    ] = False,
    explain: Annotated[
        bool,
        typer.Option("--explain", help="Print what each stage and each pass over the graph did."),
    ] = False,
    graphs: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Write the graph after each pass there, as text."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the report as a line of JSON, and nothing else.")
    ] = False,
) -> None:
    """Export a model with its explainer as one graph of standard operators,
    proven equal to PyTorch.

    The suffix of the output picks the format: .onnx, .pt2 (torch.export) or .pt (TorchScript).
    """
    if as_json:
        results_as_json()
    path = check_writable(output, FORMATS)
    if graphs is not None:
        check_folder(graphs)
    written = [path, *(path.with_name(path.name + ending) for ending in (".data", ".report.json"))]
    sources = [*(images or []), *(calibration or []), weights, labels, *(inputs or [])]
    keep_inputs(written, sources, model=model)
    # the libraries that write the file take UTF-8 alone
    if any("\ud800" <= letter <= "\udfff" for letter in str(path)):
        raise OutputError(f"{path} cannot be written: its name is no UTF-8; choose another")
    asked = {
        "dynamic": dynamic,
        "opset": opset,
        "precision": precision,
        "calibration": calibration,
        "with_preprocess": with_preprocess or None,
        "nms": given["nms"] or None,
        "one_image": given["one_image"] or None,
    }
    options: dict[str, Any] = _options(path, asked)
    options["outputs"] = None if outputs is None else [name.strip() for name in outputs.split(",")]
    explainer = method_of(method, option)
    with staged(f"exporting {f'{method} of ' if method else ''}{model}") as begins:
        shown = tracing.pictures(images or [])
        loaded = load(model, weights, labels, preprocess, trust_checkpoint, inputs)
        import torch

        import camport
        from camport import export as formats

        height, width = _size(size, loaded.preprocess)
        spec = loaded.preprocess
        if dynamic != "batch+size" or spec.size is not None:
            spec = dataclasses.replace(spec, size=(height, width), stride=None, side=None)
        if calibration:
            read = calibration_images.read(
                calibration, dataclasses.replace(spec, size=(height, width), side=None)
            )
            options["calibration"] = torch.from_numpy(read)
        bound = camport.bind(
            loaded.model,
            explainer,
            layer or loaded.layer,
            adapter_with(adapter_of(adapter or loaded.adapter, given), adapter_option),
            preprocess={"size": spec.size} if loaded.guessed else dataclasses.asdict(spec),
            labels=loaded.labels or None,
            chunk=chunk,
        )
        spec = dataclasses.replace(spec, size=(height, width), stride=None, side=None)
        shown = (
            shown
            if images
            else [tracing.with_channels(picture, spec.channels) for picture in shown]
        )
        pixels, placements = zip(*(spec.apply(picture) for picture in shown), strict=True)
        asked_about = tracing.asked(
            *(bound.adapter.name, bound.adapter.fields, target or [], given),
            *(loaded.labels or None, shown, placements),
        )
        with _stages(explain, graphs, begins):
            made = getattr(formats, FORMATS[path.suffix.lower()])(
                bound,
                path,
                torch.from_numpy(np.stack(pixels)),
                asked_about,
                report=report,
                **options,
            )
    if as_json:
        say_result({**json.loads(made.to_json()), "output": str(path)})
    say(*str(made).splitlines())
    say(f"wrote {path}" + (f" and {place_of(path)}.report.json" if report else ""))


@contextmanager
def _stages(explain: bool, graphs: Path | None, begins: Callable[[str], None]) -> Iterator[None]:
    """Prints the stages of the export inside, also where it fails; `begins` is told each."""
    from camport.export.stages import recorded

    if graphs is not None:
        graphs.mkdir(exist_ok=True)
    with recorded(graphs, begins) as stages:
        try:
            yield
        finally:
            if explain:
                say(*map(str, stages))


def _options(path: Path, asked: dict[str, Any]) -> dict[str, Any]:
    """What was asked for, by the names that `camport.export` has;
    refused where the format has no such option."""
    given = {name: value for name, value in asked.items() if value is not None}
    suffix = path.suffix.lower()
    for name in given:
        if suffix != ".onnx" and name in ONNX_ALONE:
            raise InputError(f"--{name.replace('_', '-')} is for .onnx files, and {path} is none")
        if suffix == ".pt" and name in NOT_TORCHSCRIPT:
            raise InputError(f"--{name} is for .onnx and .pt2 files, and {path} is none")
    if given.get("precision") == "int8" and "calibration" not in given:
        raise InputError(
            "--precision int8 needs --calibration, image files or a folder of them, some dozens"
            " in all"
        )
    if given.get("precision") != "int8" and "calibration" in given:
        raise InputError("--calibration is for --precision int8")
    if given.pop("with_preprocess", False):
        given["preprocess"] = True
    return given


def _size(given: str | None, own: Preprocess) -> tuple[int, int]:
    if given is None:
        if own.size is None:
            height, width = (n or 224 for n in own.side or (None, None))
            what = (
                "no image size" if own.side is None else f"one side of its images alone, {own.side}"
            )
            raise InputError(f"the model names {what}; give one, e.g. --size {height}x{width}")
        return own.size
    try:
        height, width = (int(part) for part in given.lower().split("x"))
    except ValueError:
        raise InputError(f"size {given!r} is not HEIGHTxWIDTH, e.g. 224x224") from None
    if min(height, width) < 1:
        raise InputError(f"size {given!r}: both sides must be at least 1")
    if height * width > MAX_PIXELS:
        raise InputError(
            f"size {given!r} is {height * width} pixels; at most {MAX_PIXELS} can be explained"
        )
    return height, width
