"""`camport explain`: an explanation in PyTorch."""

from typing import TYPE_CHECKING

import typer

from camport.cli import figure
from camport.cli.options import (
    Adapter,
    Alpha,
    Colormap,
    Images,
    Labels,
    Layer,
    Method,
    Model,
    Output,
    Preprocessing,
    Target,
    Weights,
)
from camport.cli.working import working
from camport.errors import MissingDependencyError
from camport.runtime import class_index, open_image
from camport.view import check_writable, colormap_table

if TYPE_CHECKING:
    from camport.models import Loaded


def explain(
    images: Images,
    model: Model,
    output: Output,
    weights: Weights = None,
    method: Method = "gradcam",
    target: Target = None,
    layer: Layer = None,
    adapter: Adapter = "classification",
    labels: Labels = None,
    preprocess: Preprocessing = None,
    colormap: Colormap = "turbo",
    alpha: Alpha = 0.6,
) -> None:
    """Explain what a model sees in images, in PyTorch."""
    path = check_writable(output)
    colormap_table(colormap)
    pictures = [open_image(image) for image in images]
    with working(f"explaining {len(pictures)} image{'s' * (len(pictures) != 1)} by {method} with {model}") as progress:
        loaded = load(model, weights, labels, preprocess)
        import torch

        import camport

        bound = camport.bind(loaded.model, method, layer or loaded.layer, adapter)
        index = None if target is None else class_index(target, loaded.labels or None)
        prepared = [loaded.preprocess.apply(picture) for picture in pictures]
        explanations = [bound(torch.from_numpy(pixels)[None], index, progress=progress) for pixels, _ in prepared]
    captions = [
        figure.caption(int(e.target[0]) if e.target.dim() == 1 else None, float(e.score[0]), loaded.labels)
        for e in explanations
    ]
    title = f"{bound.explainer.title} of {model}" + (f" at {', '.join(bound.layers)}" if bound.layers else "")
    numbers = [e.numbers() for e in explanations]
    figure.write(path, pictures, [p for _, p in prepared], numbers, title, captions, colormap, alpha)
    for image, text in zip(images, captions, strict=True):
        typer.echo(f"{image}: {text}" + (f", layer {', '.join(bound.layers)}" if bound.layers else ""))
    typer.echo(f"wrote {path}")


def load(spec: str, weights: str | None, labels: Labels, preprocess: str | None) -> "Loaded":
    """The model of SPEC with what the user says about its labels and images."""
    import dataclasses

    from camport.runtime import Preprocess

    try:
        from camport.models import load_model
    except ModuleNotFoundError as error:
        raise MissingDependencyError(f'{error.name} is needed for this: pip install "camport[torch]"') from error
    loaded = load_model(spec, weights)
    if preprocess is not None:
        loaded = dataclasses.replace(loaded, preprocess=Preprocess.from_json(preprocess))
    if labels is not None:
        loaded = dataclasses.replace(loaded, labels=_read_labels(labels))
    return loaded


def _read_labels(path: Labels) -> tuple[str, ...]:
    from camport.errors import InputError

    assert path is not None
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"labels {path} cannot be read: {error}") from None
    return tuple(line.strip() for line in lines if line.strip())
