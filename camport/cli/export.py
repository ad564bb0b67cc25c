"""`camport export`: model, gradient and heatmap as one file."""

import dataclasses
from typing import Annotated

import typer

from camport.cli.explain import load
from camport.cli.options import Adapter, Labels, Layer, Method, Model, Output, Preprocessing, Weights
from camport.cli.working import working
from camport.errors import InputError
from camport.runtime.image_file import MAX_PIXELS
from camport.view import check_writable

FORMATS = {".onnx": "to_onnx", ".pt2": "to_pt2", ".pt": "to_torchscript"}
"""Suffix -> the function of `camport.export` that writes such a file."""


def export(
    model: Model,
    output: Output,
    weights: Weights = None,
    method: Method = "gradcam",
    layer: Layer = None,
    adapter: Adapter = "classification",
    labels: Labels = None,
    preprocess: Preprocessing = None,
    size: Annotated[
        str | None, typer.Option(metavar="HxW", help="Image size to trace with, where the model names none.")
    ] = None,
) -> None:
    """Export a model with its explainer as one graph of standard operators, proven equal to PyTorch.

    The suffix of the output picks the format: .onnx, .pt2 (torch.export) or .pt (TorchScript).
    """
    path = check_writable(output, FORMATS)
    with working(f"exporting {method} of {model}"):
        loaded = load(model, weights, labels, preprocess)
        import torch

        import camport
        from camport import export as formats

        height, width = _size(size, loaded.preprocess.size)
        bound = camport.bind(
            loaded.model,
            method,
            layer or loaded.layer,
            adapter,
            preprocess=dataclasses.asdict(dataclasses.replace(loaded.preprocess, size=(height, width))),
            labels=loaded.labels or None,
        )
        images = torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(0))
        report = getattr(formats, FORMATS[path.suffix.lower()])(bound, path, images)
    typer.echo(str(report))
    typer.echo(f"wrote {path}")


def _size(given: str | None, own: tuple[int, int] | None) -> tuple[int, int]:
    if given is None:
        if own is None:
            raise InputError("the model names no image size; give one, e.g. --size 224x224")
        return own
    try:
        height, width = (int(part) for part in given.lower().split("x"))
    except ValueError:
        raise InputError(f"size {given!r} is not HEIGHTxWIDTH, e.g. 224x224") from None
    if min(height, width) < 1:
        raise InputError(f"size {given!r}: both sides must be at least 1")
    if height * width > MAX_PIXELS:
        raise InputError(f"size {given!r} is {height * width} pixels; at most {MAX_PIXELS} can be explained")
    return height, width
