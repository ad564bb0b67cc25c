"""Maps of the shipped detector, where the truth is known, and what they cost:
`python -m benchmarks detection -o benchmarks/DETECTION.md`.
"""

import argparse
import statistics
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import camport
from benchmarks.detectors.detection_costs import costs
from benchmarks.detectors.detection_parts import parts
from camport.bench.machine import versions
from camport.demo.detector import CARD, load
from camport.demo.scenes import Digit, make_scene
from camport.errors import CamportWarning
from camport.export import to_onnx
from camport.metrics import EnergyInRegion, PointingGame
from camport.runtime import load as load_file

METHODS = ("odam", "layercam", "hirescam", "gradcam", "eigencam")
NAMED = ("torch", "onnxruntime")
FIRST_SEED = 5000
"""Beyond the scenes that training and its score saw."""

TEXT = """\
# Maps of detections

The shipped detector (`demo:detector`) on {scenes} held-out digit scenes, each asked about every digit in it:
{asked} boxes. `python -m benchmarks detection`, {versions}.

*Energy*: share of the heatmap's sum in the box of the digit asked about. *Pointing*: share of heatmaps whose maximum
lies in that box. *Same class*: of boxes that have another of their class in the scene, share of heatmaps with more
energy in their own box than in the other. The boxes' mean share of the area is {area:.1%}.

| method | energy | pointing | same class ({pairs}) |
| :--- | ---: | ---: | ---: |
{rows}

The same boxes with `odam` in an exported file, run by ONNX Runtime: energy {file_energy:.3f}, pointing
{file_pointing:.3f}; heatmaps differ from PyTorch's by at most {difference:.1e} (of 1).

## Cost

Explaining the k best detections of an image over the bare forward pass: one forward pass, then one backward pass of the
tail for each. *PyTorch*: `bound(image)` over the model. *file*: what `to_onnx(..., one_image=True)` writes, asked about
the same k boxes, over the bare model's file, both in ONNX Runtime. Medians of process CPU time, one thread, both sides
alternating. Scenes are {small} x {small} pixels and take some milliseconds, to which in PyTorch the work of Python
beside the network adds as many; of sixteen of them a picture of {large} x {large} is made, nearer to
what detectors are given.

| pixels | k | images | PyTorch | file | 1 + 0.8 k |
| ---: | ---: | ---: | ---: | ---: | ---: |
{costs}

What one detection of a scene takes in PyTorch, part by part over the bare pass: the private double of the {modules}
modules, and reading the candidates, take as long for any number of detections and any size of the images; the gradient
passes most convolutions behind the finest level, since that level feeds the coarser ones.

| part | of the bare pass |
| :--- | ---: |
{parts}
"""

SIDE = 4
"""Scenes along a side of the larger pictures."""


def cases(scenes: int) -> list[tuple[Tensor, tuple[Digit, ...]]]:
    """Images [1,3,H,W] as the network wants them, with their digits."""
    mean, std = torch.tensor(CARD.mean), torch.tensor(CARD.std)
    found = []
    for seed in range(FIRST_SEED, FIRST_SEED + scenes):
        scene = make_scene(seed, split="held-out", size=CARD.input_size)
        pixels = (torch.from_numpy(scene.image).float() / 255 - mean) / std
        found.append((pixels.permute(2, 0, 1)[None].contiguous(), scene.digits))
    return found


def region(digits: Sequence[Digit]) -> Tensor:
    """The digits' boxes, bool [k,H,W]."""
    found = torch.zeros(len(digits), CARD.input_size, CARD.input_size, dtype=torch.bool)
    for mask, digit in zip(found, digits, strict=True):
        left, top, right, bottom = (int(v) for v in digit.box)
        mask[top:bottom, left:right] = True
    return found


def target(digits: Sequence[Digit]) -> dict[str, Tensor]:
    boxes, labels = torch.tensor([d.box for d in digits]), torch.tensor([d.label for d in digits])
    return {"boxes": boxes, "class_ids": labels}


def scored(
    heatmaps: Sequence[Tensor], scenes: Sequence[Sequence[Digit]]
) -> tuple[float, float, float, int]:
    """Mean energy and pointing, the share of rivals of one class told apart,
    and how many there were."""
    energy, pointing, apart = [], [], []
    for maps, digits in zip(heatmaps, scenes, strict=True):
        regions = region(digits)
        energy += EnergyInRegion()(maps, regions).tolist()
        pointing += PointingGame()(maps, regions).tolist()
        for i, one in enumerate(digits):
            rivals = [j for j, other in enumerate(digits) if j != i and other.label == one.label]
            apart += [bool(maps[i][regions[i]].sum() > maps[i][regions[j]].sum()) for j in rivals]
    return (
        statistics.mean(energy),
        statistics.mean(pointing),
        statistics.mean(apart or [0]),
        len(apart),
    )


def larger(images: Sequence[Tensor]) -> list[Tensor]:
    """SIDE x SIDE scenes as one picture each."""
    found = []
    for start in range(0, len(images) - SIDE * SIDE + 1, SIDE * SIDE):
        rows = [
            torch.cat([*images[start + SIDE * r : start + SIDE * (r + 1)]], 3) for r in range(SIDE)
        ]
        found.append(torch.cat(rows, 2))
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks detection", description=__doc__)
    parser.add_argument("--scenes", type=int, default=200, help="how many held-out scenes")
    parser.add_argument(
        "--rounds", type=int, default=15, help="of each timed scene, of which there are 20"
    )
    parser.add_argument("-o", "--output", type=Path, help="the Markdown file; otherwise printed")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", CamportWarning)
    model, found = load(), cases(given.scenes)
    digits = [d for _, d in found]
    rows, maps = [], {}
    for method in METHODS:
        bound = camport.bind(model, method, adapter="detection")
        maps[method] = [bound(image, target(d)).heatmap for image, d in found]
        energy, pointing, apart, pairs = scored(maps[method], digits)
        rows.append(f"| `{method}` | {energy:.3f} | {pointing:.3f} | {apart:.3f} |")
        print(rows[-1], file=sys.stderr)
    bound = camport.bind(model, adapter="detection")
    with tempfile.TemporaryDirectory() as folder:
        to_onnx(bound, Path(folder) / "odam.onnx", torch.cat([image for image, _ in found[:2]]))
        explainer = load_file(Path(folder) / "odam.onnx", ["cpu"], threads=1)
        exported = []
        for image, d in found:
            asked = {name: value.numpy() for name, value in target(d).items()}
            result = explainer(np.repeat(image.numpy(), len(d), 0), only=["heatmap"], **asked)
            exported.append(torch.from_numpy(result.heatmap))
    file_energy, file_pointing, _, _ = scored(exported, digits)
    images = [image for image, _ in found]
    alone = [image for image in images[:20] if len(bound(image).score) == 1]
    measured = costs(model, images[:20], 10, given.rounds)
    for most in (1, 2, 4, 10):
        measured += costs(model, larger(images)[:4], most, given.rounds)
    text = TEXT.format(
        scenes=given.scenes,
        asked=sum(map(len, digits)),
        versions=", ".join(
            f"{name} {version}" for name, version in versions().items() if name in NAMED
        ),
        area=statistics.mean(float(r.float().mean()) for d in digits for r in region(d)),
        pairs=pairs,
        rows="\n".join(rows),
        file_energy=file_energy,
        file_pointing=file_pointing,
        difference=max(
            float((a - b).abs().max()) for a, b in zip(maps["odam"], exported, strict=True)
        ),
        small=CARD.input_size,
        large=SIDE * CARD.input_size,
        costs="\n".join(measured),
        modules=len(list(model.modules())),
        parts="\n".join(parts(model, alone, given.rounds)),
    )
    if given.output:
        given.output.write_text(text, encoding="utf-8")
    else:
        print(text)
    return 0
