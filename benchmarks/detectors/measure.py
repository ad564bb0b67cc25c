"""What a real detector must get right: gradient, map, geometry,
and the exported file that says the same."""

import copy
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import camport
from camport.adapters import DetectionAdapter
from camport.export import to_onnx

STEP = 1e-6
"""Length of the step that differences are taken over, relative to the activations."""


@dataclass(frozen=True)
class Measured:
    """One detector, explained.

    Attributes:
        form: how its outputs are read.
        layers: where it is explained.
        largest: the largest value of the map before it is scaled.
        gradient: relative error of the score's derivative along a direction, against central
            differences in float64.
        geometry: how far the centre of a cell of the map comes to lie from where the cell is,
            in pixels.
    """

    form: str
    layers: tuple[str, ...]
    largest: float
    gradient: float
    geometry: float

    def line(self) -> dict[str, Any]:
        """As JSON has it."""
        return {**asdict(self), "layers": list(self.layers)}


def explained(model: nn.Module, images: Tensor) -> Measured:
    """Explains the best candidate of the first image, and checks the explanation."""
    bound = camport.bind(model, adapter=DetectionAdapter(threshold=0.0, most=1))
    found = bound(images[:1])
    assert found.heatmap.shape == (1, *images.shape[2:])
    assert bool(found.heatmap.isfinite().all())
    form = bound.adapter.form
    return Measured(
        form.format,
        bound.layers or (),
        float(found.raw.max()),
        gradient_error(model, images[:1]),
        geometry_error(bound, images[:1], found.raw.shape[1:]),
    )


def gradient_error(model: nn.Module, image: Tensor) -> float:
    """Of all layers at once: each is moved along its gradient and along noise,
    and the raw logit is read."""
    model, image = copy.deepcopy(model).double(), image.double()
    bound = camport.bind(model, "hirescam", adapter=DetectionAdapter(threshold=0.0, most=1))
    found = bound(image)
    generator = torch.Generator().manual_seed(2)
    ways = []
    for a, g in zip(found.activations, found.gradients, strict=True):
        noise = torch.randn(a.shape, generator=generator, dtype=a.dtype)
        ways.append(STEP * a.norm() * (noise / noise.norm() + g / g.norm().clamp_min(1e-300)))
    expected = sum(float((g * way).sum()) for g, way in zip(found.gradients, ways, strict=True))
    asked = {"boxes": found.figures["boxes"].double(), "class_ids": found.target}
    index = torch.zeros_like(found.target) if bound.adapter.form.asked else found.figures["index"]

    def moved(name: str, way: Tensor) -> Any:
        def hook(module: nn.Module, args: Any, output: Tensor) -> Tensor:
            grid = bound.adapter.grid(output, tuple(image.shape[2:]), model, module, name)
            return output + grid.from_maps(way, torch.zeros_like(output))

        return hook

    def score(sign: int) -> float:
        hooks = [
            model.get_submodule(name.partition("@")[0]).register_forward_hook(
                moved(name, sign * way)
            )
            for name, way in zip(bound.layers, ways, strict=True)
        ]
        try:
            with torch.no_grad():
                said = bound.adapter.ask(model, image, asked)
                return float(bound.adapter.score(said, {"index": index, "class_ids": found.target}))
        finally:
            for hook in hooks:
                hook.remove()

    return abs((score(1) - score(-1)) / 2 - expected) / abs(expected)


def geometry_error(bound: camport.Bound, image: Tensor, cells: tuple[int, int]) -> float:
    """A map of one hot cell, laid on the image: its centroid against the cell's place, told by the
    model's own preparation of the image where it has one.
    """
    size = tuple(image.shape[2:])
    transform: Any = getattr(bound.model, "transform", None)
    network = resized = size
    if transform is not None:
        prepared, _ = transform(list(image))
        network, resized = tuple(prepared.tensors.shape[2:]), prepared.image_sizes[0]
    hot = torch.zeros(1, *cells, dtype=torch.float64)
    place = [cells[axis] // 2 - 1 for axis in (0, 1)]
    hot[0, place[0], place[1]] = 1
    laid = bound.adapter.lay(hot, size, bound.model)[0]
    worst = 0.0
    for axis in (0, 1):
        profile = laid.sum(1 - axis)
        found = float((profile * (torch.arange(size[axis]) + 0.5)).sum() / profile.sum())
        wanted = (place[axis] + 0.5) * network[axis] / cells[axis] * size[axis] / resized[axis]
        worst = max(worst, abs(found - wanted))
    return worst


def exported(model: nn.Module, images: Tensor, path: Path) -> dict[str, Any]:
    """Exports the explanation; the exporter compares the file with float64 on inputs that were not
    traced."""
    bound = camport.bind(model, adapter=DetectionAdapter(threshold=0.0, most=1))
    start = time.perf_counter()
    report = to_onnx(bound, path, images)
    parity = report.parity["heatmap"]
    seconds = round(time.perf_counter() - start)
    return {
        "seconds": seconds,
        "mb": report.bytes / 1e6,
        "error": parity.exported,
        "eager": parity.eager,
    }
