"""The first part of `camport demo`: an ImageNet classifier on photographs,
in PyTorch and from an exported file."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL.Image import Image

import camport
from camport.adapters import ClassificationAdapter
from camport.demo.carried import carried
from camport.demo.photographs import SOURCES, photograph
from camport.export import to_onnx
from camport.models import Loaded, load_model
from camport.runtime import Placement
from camport.view import Cell, gradient_picture, grid, layer_grid, overlay, save_image

ASKED = (
    ("chelsea", "tiger cat"),
    ("chelsea", "Egyptian cat"),
    ("coffee", "espresso"),
    ("camera", "tripod"),
)
"""Photographs and a class that is asked about; these three are in the public domain (CC0)."""
STAGES = ("blocks.0", "blocks.1", "blocks.2", "blocks.3", "blocks.4", "blocks.5", "blocks.6", "bn2")
"""The outputs of the network's stages, and the layer that is chosen."""
FILE = "imagenet-gradcam.onnx"


@dataclass(frozen=True)
class Seen:
    """What the network saw of a photograph, and the class asked about.

    Attributes:
        name: in `SOURCES`.
        label, target: the class.
        picture: the part of the photograph that was not cropped away.
        pixels: the network's input [1,3,H,W].
        placement: of the photograph in it.
    """

    name: str
    label: str
    target: int
    picture: Image
    pixels: torch.Tensor
    placement: Placement

    def shown(self, values: np.ndarray) -> np.ndarray:
        """An array [H,W] of the network's frame at the size of `picture`."""
        left, top, right, bottom = _frame(self.placement)
        return self.placement.to_image(values)[top:bottom, left:right]


RunEdge = Callable[[Path, Path, Path], dict[str, np.ndarray]]
"""Runs a file on the samples of a folder without PyTorch: the file, the arrays it writes,
the folder."""


def show(folder: Path, step: Callable[[str], None], run_edge: RunEdge) -> float:
    """Writes three pictures and the exported file;
    the largest difference of a heatmap between PyTorch and the file.

    Args:
        folder: where they are written.
        step: is told what is being done.
        run_edge: as `camport.show.show.run_edge`.

    Raises:
        MissingDependencyError: the extra `demo` is not installed.
    """
    step("explaining photographs in PyTorch")
    loaded = load_model("demo:imagenet")
    asked = [seen(loaded, name, label) for name, label in ASKED]
    save_image(folder / "0-photographs.png", classes(loaded, asked))
    step("explaining one of them at every stage of the network")
    save_image(folder / "0-photographs-layers.png", layers(loaded, asked[0]))
    step("exporting the classifier with its explanation, and running the file without PyTorch")
    bound = camport.bind(
        loaded.model, preprocess=dataclasses.asdict(loaded.preprocess), labels=loaded.labels
    )
    images, targets = (
        torch.cat([one.pixels for one in asked]),
        torch.tensor([one.target for one in asked]),
    )
    to_onnx(bound, folder / FILE, images)
    eager = bound(images, targets).heatmap.numpy()
    with tempfile.TemporaryDirectory() as samples:
        scenes = [
            {"file": str(carried(SOURCES[o.name].file)), "digits": [{"label": o.target}]}
            for o in asked
        ]
        Path(samples, "samples.json").write_text(json.dumps(scenes))
        edge = run_edge(folder / FILE, Path(samples, "out.npz"), Path(samples))["heatmap"]
    save_image(folder / "0-photographs-without-pytorch.png", side_by_side(asked, eager, edge))
    return float(np.abs(eager - edge).max())


def seen(loaded: Loaded, name: str, label: str) -> Seen:
    """A photograph as the network sees it."""
    picture = photograph(name)
    pixels, placement = loaded.preprocess.apply(picture)
    part = picture.crop(_frame(placement))
    return Seen(
        name, label, loaded.labels.index(label), part, torch.from_numpy(pixels)[None], placement
    )


def classes(loaded: Loaded, asked: list[Seen]) -> Image:
    """A column a question: the photograph, Grad-CAM and Guided Grad-CAM;
    and what tells the two cats apart."""
    rows: list[list[Cell]] = [[], [], []]

    def column(one: Seen, adapter: ClassificationAdapter, text: str) -> None:
        found, fine = (
            camport.bind(loaded.model, method, adapter=adapter)(one.pixels, one.target)
            for method in ("gradcam", "guided_gradcam")
        )
        signed = np.stack([one.shown(channel) for channel in fine.figures["gradient"][0].numpy()])
        likely = float(found.outputs.softmax(1)[0, one.target])
        rows[0].append(Cell(one.picture, text.format(likely)))
        rows[1].append(Cell(overlay(one.picture, one.shown(found.heatmap[0].numpy()), alpha=0.6)))
        rows[2].append(Cell(gradient_picture(signed)))

    for one in asked:
        column(one, ClassificationAdapter(), f"{one.label}, {{:.0%}}")
        first = next(other for other in asked if other.name == one.name)
        # a second class of the same photograph: what speaks for it and not for the first
        if first is not one:
            contrast = ClassificationAdapter(score_as="contrast", against=first.target)
            column(one, contrast, f"{one.label}, not {first.label}")
    title = "What an ImageNet classifier sees in photographs, and where"
    heads = [
        "photograph",
        *(camport.methods()[method].title for method in ("gradcam", "guided_gradcam")),
    ]
    # pages show it at about half its width
    return grid(rows, title=title, row_labels=heads, colorbar="turbo", cell=300, text=26)


def layers(loaded: Loaded, one: Seen) -> Image:
    """Grad-CAM of one class at the end of each stage."""
    maps, captions = {}, {}
    for name, found in camport.sweep(loaded.model, one.pixels, "gradcam", one.target, STAGES):
        maps[name] = one.shown(found.heatmap[0].numpy())
        captions[name] = " x ".join(map(str, found.raw.shape[1:]))
    title = f"Grad-CAM of {one.label} at every stage, from edges to the whole"
    return layer_grid(one.picture, maps, captions=captions, title=title, columns=3, cell=260)


def side_by_side(asked: list[Seen], eager: np.ndarray, edge: np.ndarray) -> Image:
    """The same maps from PyTorch and from the file,
    and their difference a thousand times enlarged."""
    rows: list[list[Cell]] = [[], [], []]
    for one, a, b in zip(asked, eager, edge, strict=True):
        rows[0].append(Cell(overlay(one.picture, one.shown(a), alpha=0.6)))
        rows[1].append(Cell(overlay(one.picture, one.shown(b), alpha=0.6)))
        difference = one.shown(np.clip(1e3 * np.abs(a - b), 0, 1))
        rows[2].append(Cell(overlay(one.picture, difference, alpha=0.6), one.label))
    heads = ["PyTorch", "ONNX Runtime, no PyTorch", "difference x 1000"]
    return grid(
        rows,
        title="The exported file draws the same picture",
        row_labels=heads,
        colorbar="turbo",
        cell=260,
    )


def _frame(placement: Placement) -> tuple[int, int, int, int]:
    """What the network sees of a picture, in whole pixels of it: left, top, right, bottom."""
    height, width = placement.image
    left, top, right, bottom = map(round, placement.seen or (0, 0, width, height))
    return left, top, right, bottom
