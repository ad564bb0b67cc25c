"""How alike a method's maps of two classes of one scene are, and those of one class in two scenes.

`python -m benchmarks quality_notes` prints the table of QUALITY.md's notes, which `quality.py` puts
there.
"""

import argparse
from collections.abc import Iterator, Sequence
from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor

import camport
from benchmarks.quality.sanity import normalised
from camport.core import registry
from camport.demo.networks import NETWORKS, load
from camport.demo.scenes import make_scene
from camport.errors import silenced
from camport.evaluation.named import made

POOLED = ("digits", "gap-pool", "gap-full")
METHODS = ("gradcam", "deconvnet", "guided_backprop", "fullgrad", "fullgrad(preset='official')")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks quality_notes", description=__doc__)
    parser.add_argument("--scenes", type=int, default=8)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=POOLED)
    parser.add_argument("--methods", nargs="+", default=METHODS)
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    print(text(given.networks, given.methods, given.scenes))
    return 0


def text(
    networks: Sequence[str] = POOLED, methods: Sequence[str] = METHODS, scenes: int = 8
) -> str:
    """The table with what it shows."""
    lines = [
        (
            "The cosine of a method's maps of two classes of one scene, and of one class in two"
            f" scenes, the means over {scenes} scenes"
        ),
        "(`python -m benchmarks quality_notes`):",
        "",
        "| method | " + " | ".join(networks) + " |",
        "| :--- |" + " ---: |" * len(networks),
    ]
    for method in methods:
        cells = [f"{c:.4f}, {s:.4f}" for c, s in (alike(name, method, scenes) for name in networks)]
        lines.append(f"| `{method}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def alike(name: str, method: str, scenes: int) -> tuple[float, float]:
    """The mean cosine of maps of two classes of one scene, and of one class in two scenes."""
    maps: dict[tuple[int, int], Tensor] = {}
    for seed, label, heatmap in _maps(name, method, scenes):
        maps[seed, label] = F.normalize(heatmap.flatten().double(), dim=0)
    pairs = list(combinations(maps, 2))
    classes = [float(maps[a] @ maps[b]) for a, b in pairs if a[0] == b[0]]
    places = [float(maps[a] @ maps[b]) for a, b in pairs if a[1] == b[1]]
    return sum(classes) / len(classes), sum(places) / len(places)


def _maps(name: str, method: str, scenes: int) -> Iterator[tuple[int, int, Tensor]]:
    network = NETWORKS[name]
    bound = camport.bind(load(name), made(method, registry.explainer), layer=network.layer)
    for seed in range(scenes):
        scene = make_scene(seed, split="held-out", size=network.input_size)
        labels = sorted({digit.label for digit in scene.digits})
        images = normalised(scene, network).expand(len(labels), -1, -1, -1)
        with silenced():
            heatmaps = bound(images, torch.tensor(labels)).heatmap
        yield from zip([seed] * len(labels), labels, heatmaps, strict=True)
