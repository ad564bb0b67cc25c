"""What `camport demo` does: explain bundled scenes in PyTorch, export,
run the file without PyTorch, and compare."""

from __future__ import annotations

import dataclasses
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL.Image import Image

import camport
from camport.core.bound import Bound
from camport.demo.networks import WEIGHTS
from camport.errors import FlatMapWarning, MissingDependencyError, ModelError
from camport.export import ExportReport, to_onnx
from camport.metrics import PointingGame
from camport.models import Loaded, load_model
from camport.runtime import open_image
from camport.show import photographs as of_photographs
from camport.show import tasks as of_tasks
from camport.show.detections import why_is_it_there
from camport.view import Box, Cell, grid, overlay, pictured, save_image

SAMPLES = WEIGHTS.parent / "samples"
ROUNDS = 30
HALF_CELL = 4
"""Pixels; the maps have one value for 8 x 8 of them, so they cannot point finer."""
THREADS = 1
"""In both processes: the network is small, and times of one thread do not depend on what else the
machine does."""
METHODS = (
    "gradcam",
    "gradcam++",
    "hirescam",
    "xgradcam",
    "layercam",
    "cam",
    "feature_maps",
    "saliency",
)


@dataclass(frozen=True)
class Sample:
    """A held-out scene with its truth.

    Attributes:
        picture: RGB.
        caption: what is to be seen.
        digits: (class, xyxy box) of each digit.
    """

    picture: Image
    caption: str
    digits: tuple[tuple[int, tuple[float, float, float, float]], ...]


@dataclass(frozen=True)
class Figures:
    """What the demo measured.

    Attributes:
        hits: how many of the maps have their maximum in the box of the digit that was asked about,
            to half a cell of the map.
        asked: how many maps there are.
        difference: largest difference of a heatmap's pixel between PyTorch and the exported file.
        same_picture: largest difference of an 8-bit value between the pictures drawn from the two.
        milliseconds: median time of one image by name: bare and explained, in PyTorch and by the
            file.
        report: of the export.
        photographs: largest difference of a photograph's heatmap between PyTorch and its exported
            file; why there are none where the extra `demo` is not installed.
    """

    hits: int
    asked: int
    difference: float
    same_picture: int
    milliseconds: dict[str, float]
    report: ExportReport
    photographs: float | str


def samples() -> list[Sample]:
    """The bundled scenes."""
    found = json.loads((SAMPLES / "samples.json").read_text())
    return [
        Sample(
            open_image(SAMPLES / scene["file"]),
            scene["caption"],
            tuple((d["label"], tuple(d["box"])) for d in scene["digits"]),
        )
        for scene in found
    ]


def show(folder: Path, step: Callable[[str], None]) -> Figures:
    """Runs the demo and writes its pictures and files into `folder`;
    `step` is told what is being done."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(THREADS)
    try:
        photographs: float | str = of_photographs.show(folder, step, run_edge)
    except MissingDependencyError as error:
        photographs = str(error)
    loaded, scenes = load_model("demo:digits"), samples()
    bound = bind(loaded, "gradcam")
    step("explaining scenes in PyTorch")
    eager, hits = explain_all(bound, loaded, scenes)
    save_image(folder / "1-where-is-the-digit.png", where(scenes, eager))
    step("comparing methods")
    save_image(folder / "2-methods.png", compare(loaded, scenes[1]))
    step("the class activation map experiment")
    save_image(folder / "3-with-and-without-pooling.png", pooling(scenes))
    step("exporting prediction, gradient and heatmap as one ONNX file")
    file = folder / "digits-gradcam.onnx"
    report = to_onnx(bound, file, batch(loaded, scenes))
    step("running the file in a process without PyTorch")
    edge = run_edge(file, folder / "digits-gradcam.npz")
    save_image(folder / "4-without-pytorch.png", side_by_side(scenes, eager, edge["heatmap"]))
    step("explaining detections")
    save_image(
        folder / "5-why-is-it-there.png", why_is_it_there([scene.picture for scene in scenes[:4]])
    )
    step("explaining words, answers and regions")
    for name, figure in tasks(scenes).items():
        save_image(folder / name, figure)
    step("measuring")
    return Figures(
        hits=sum(hits),
        asked=len(hits),
        difference=float(np.abs(np.concatenate(eager) - edge["heatmap"]).max()),
        same_picture=drawn_difference(scenes, eager, edge["heatmap"]),
        milliseconds=timings(bound, batch(loaded, scenes)[:1])
        | {"exported": float(edge["milliseconds"])},
        report=report,
        photographs=photographs,
    )


def tasks(scenes: list[Sample]) -> dict[str, Image]:
    """The figures of the captioner, the question answerer and the segmentation, by file."""
    pictures, labels = (
        [scene.picture for scene in scenes],
        [[label for label, _ in scene.digits] for scene in scenes],
    )
    pairs = [picture for picture, found in zip(pictures, labels, strict=True) if len(found) == 2]
    return {
        "6-what-is-each-word.png": of_tasks.words(pairs),
        "7-what-is-the-answer.png": of_tasks.answers(pictures[1:4], labels[1:4]),
        "8-what-is-the-region.png": of_tasks.segments(pictures[:3], labels[:3]),
    }


def bind(loaded: Loaded, method: str) -> Bound:
    """A method on a shipped network."""
    return camport.bind(
        loaded.model,
        method,
        None if method == "saliency" else loaded.layer,
        preprocess=dataclasses.asdict(loaded.preprocess),
        labels=loaded.labels,
    )


def batch(loaded: Loaded, scenes: list[Sample]) -> torch.Tensor:
    """All scenes as the network wants them, [b,3,H,W]."""
    return torch.from_numpy(
        np.stack([loaded.preprocess.apply(scene.picture)[0] for scene in scenes])
    )


def explain_all(
    bound: Bound, loaded: Loaded, scenes: list[Sample]
) -> tuple[list[np.ndarray], list[bool]]:
    """For each scene the heatmaps [digits,H,W] of its digits,
    and for each digit whether the maximum is on it."""
    maps, hits = [], []
    pointing = PointingGame(HALF_CELL)
    for image, scene in zip(batch(loaded, scenes), scenes, strict=True):
        targets = torch.tensor([label for label, _ in scene.digits])
        heatmap = bound(image.expand(len(targets), -1, -1, -1), targets).heatmap
        maps.append(heatmap.numpy())
        hits += [bool(hit) for hit in pointing(heatmap, regions(scene, heatmap.shape[-2:]))]
    return maps, hits


def regions(scene: Sample, size: tuple[int, ...]) -> torch.Tensor:
    """The digits' boxes as bool [digits,H,W]."""
    found = torch.zeros(len(scene.digits), *size, dtype=torch.bool)
    for region, (_, (x0, y0, x1, y1)) in zip(found, scene.digits, strict=True):
        region[int(y0) : int(np.ceil(y1)), int(x0) : int(np.ceil(x1))] = True
    return found


def run_edge(
    file: Path, out: Path, samples: Path = SAMPLES, rounds: int = ROUNDS
) -> dict[str, np.ndarray]:
    """Runs `camport.show.edge` in a process of its own."""
    command = [
        sys.executable,
        "-m",
        "camport.show.edge",
        str(file),
        str(samples),
        str(out),
        str(rounds),
        str(THREADS),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ModelError(
            f"the process without PyTorch failed: {done.stderr.strip().splitlines()[-1]}"
        )
    with np.load(out) as found:
        return dict(found)


def where(scenes: list[Sample], maps: list[np.ndarray]) -> Image:
    """A row a scene: the scene, then one picture a digit with the question over it."""
    rows = []
    for scene, heatmaps in zip(scenes, maps, strict=True):
        cells = [Cell(scene.picture, scene.caption)]
        for (label, _), heatmap in zip(scene.digits, heatmaps, strict=True):
            cells.append(
                Cell(overlay(scene.picture, heatmap, alpha=0.6), f"where is the {name(label)}?")
            )
        rows.append(cells)
    title = "Grad-CAM of a digit classifier: the hot region lies on the digit that was asked about"
    return grid(rows, title=title, colorbar="turbo")


def compare(loaded: Loaded, scene: Sample) -> Image:
    """Every method on every digit of one scene."""
    import warnings

    rows = []
    image = batch(loaded, [scene])
    for label, box in scene.digits:
        cells = [Cell(scene.picture, f"where is the {name(label)}?", [Box(box)])]
        for method in METHODS:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FlatMapWarning)
                found = bind(loaded, method)(image, label)
            heatmap = pictured(found.heatmap[0].numpy(), found.family)
            cells.append(Cell(overlay(scene.picture, heatmap, alpha=0.6)))
        rows.append(cells)
    heads = ["scene", *(camport.methods()[method].title for method in METHODS)]
    return grid(rows, title="Eight methods on one network", columns=heads, colorbar="turbo")


def pooling(scenes: list[Sample]) -> Image:
    """Maps of the two GAP networks, with max-pooling and without; Grad-CAM,
    which is CAM's positive part there."""
    networks = [load_model("demo:gap-pool"), load_model("demo:gap-full")]
    rows = []
    for scene in scenes[:3]:
        label, box = scene.digits[0]
        cells = [Cell(scene.picture, f"where is the {name(label)}?", [Box(box)])]
        for loaded in networks:
            pixels, placement = loaded.preprocess.apply(scene.picture)
            explanation = bind(loaded, "gradcam")(torch.from_numpy(pixels)[None], label)
            heatmap = placement.to_image(explanation.heatmap[0].numpy())
            h, w = explanation.raw.shape[1:]
            hot = float((explanation.heatmap > 0.5).float().mean())
            caption = f"map of {h} x {w}, above half on {hot:.1%} of the image"
            cells.append(Cell(overlay(scene.picture, heatmap, alpha=0.6), caption))
        rows.append(cells)
    title = "Class activation maps: without pooling they need no upsampling and are sharper"
    return grid(rows, title=title, columns=["scene", "with max-pooling", "without pooling"])


def side_by_side(scenes: list[Sample], eager: list[np.ndarray], edge: np.ndarray) -> Image:
    """The same explanation from PyTorch and from the exported file,
    and their difference a thousand times enlarged."""
    rows, at = [], 0
    for scene, heatmaps in zip(scenes, eager, strict=True):
        label = scene.digits[0][0]
        difference = np.clip(np.abs(heatmaps[0] - edge[at]) * 1e3, 0, 1)
        pictures = [
            overlay(scene.picture, m, alpha=0.6) for m in (heatmaps[0], edge[at], difference)
        ]
        rows.append([Cell(scene.picture, f"where is the {name(label)}?"), *map(Cell, pictures)])
        at += len(heatmaps)
    heads = ["scene", "PyTorch", "ONNX Runtime, no PyTorch", "difference x 1000"]
    return grid(
        rows[:3], title="The exported file draws the same picture", columns=heads, colorbar="turbo"
    )


def drawn_difference(scenes: list[Sample], eager: list[np.ndarray], edge: np.ndarray) -> int:
    """Largest difference of an 8-bit colour value between pictures drawn from the two."""
    worst, at = 0, 0
    for scene, heatmaps in zip(scenes, eager, strict=True):
        for heatmap in heatmaps:
            pair = [np.asarray(overlay(scene.picture, m), np.int16) for m in (heatmap, edge[at])]
            worst, at = max(worst, int(np.abs(pair[0] - pair[1]).max())), at + 1
    return worst


def timings(bound: Bound, image: torch.Tensor) -> dict[str, float]:
    """Median milliseconds of one image, bare and explained, interleaved."""
    target = torch.tensor([0])
    steps: dict[str, Callable[[], Any]] = {
        "bare": torch.inference_mode()(lambda: bound.model(image)),
        "explained": lambda: bound(image, target),
    }
    times: dict[str, list[float]] = {what: [] for what in steps}
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FlatMapWarning)
        for _ in range(ROUNDS):
            for what, run in steps.items():
                start = time.perf_counter()
                run()
                times[what].append(1e3 * (time.perf_counter() - start))
    return {what: statistics.median(values) for what, values in times.items()}


def name(label: int) -> str:
    """ "seven" for 7."""
    from camport.demo.networks import LABELS

    return LABELS[label]
