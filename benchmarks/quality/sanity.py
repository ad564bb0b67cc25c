"""Which methods notice that a network's weights are gone, or that its labels were shuffled.

`python -m benchmarks sanity --shuffled FILE -o benchmarks/SANITY.md`, where FILE is what
`python training/train_classifiers.py --only digits --shuffled FILE` writes;
without it the labels are left out.
"""

import argparse
import copy
import datetime
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

import camport
from camport.bench.machine import versions
from camport.core import registry
from camport.demo.networks import NETWORKS, Network, load
from camport.demo.scenes import Scene, make_scene
from camport.errors import CamportWarning, MethodError
from camport.metrics.sanity import compare_models, randomised
from camport.metrics.similarity import spearman
from camport.view import Cell, apply_colormap, grid, pictured, save_image

NETWORK = "digits"
STAGES = ("fc", "layer3", "layer2", "layer1", "conv1")
"""From the output to the image; each stage is drawn anew beside those before it."""

SETTINGS = {
    "drise": {"samples": 100},
    "rise": {"samples": 300},
    "integrated_gradients": {"steps": 20},
    "sscam": {"samples": 5},
    "xrai": {"steps": 20},
}
"""Options other than the defaults, for the table's time."""

HEAD = """\
# Which methods notice that the weights are gone

{date}. {versions}, CPU, `{network}`, {scenes} held-out scenes, each explained for its first digit class.
These commands make this file:

```sh
python training/train_classifiers.py --only {network} --shuffled shuffled.safetensors
python -m benchmarks sanity --shuffled shuffled.safetensors -o benchmarks/SANITY.md
```

Options other than the defaults: {settings}.

## Randomisation of parameters

Cascading randomisation of parameters (Adebayo et al. 2018, arXiv 1810.03292, section 3.1): from the output to the image
each stage's parameters are drawn anew, as PyTorch initialises them, and the statistics of its batch norms are measured
again. The figure is Spearman's rank correlation of a heatmap with that of the trained network: the mean over scenes and
{drawn}.
A method that reads what the network has learned comes near 0; one that stays near 1 shows what any network of this
shape would: edges, and where activations are large.
"""

ONE = "one draw of parameters, without `--draws 1` it is the mean of three, with their spread"
LABELS = """\
## Randomisation of labels

A network of the same shape, trained on scenes that have the labels of others (Adebayo et al. 2018, section 4): it has
learned them by heart, and no digit is where its label says. Each figure is the similarity of the two networks'
heatmaps for the same class of a held-out scene, by `camport.metrics.compare_models`, the mean over the {scenes} scenes:
Spearman's rank correlation, SSIM, and Pearson's correlation of histograms of oriented gradients (HOG). SSIM
of maps that are smooth or zero nearly everywhere is high whatever they show.
"""
SHOWN = ("gradcam", "layercam", "eigencam", "saliency", "guided_backprop", "guided_gradcam")
"""Methods in the picture."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks sanity", description=__doc__)
    parser.add_argument("--scenes", type=int, default=4)
    parser.add_argument("--draws", type=int, default=3, help="of random parameters")
    parser.add_argument(
        "--shuffled", type=Path, metavar="FILE", help="weights that learned shuffled labels"
    )
    parser.add_argument("-o", "--output", type=Path, help="the Markdown file; otherwise printed")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    trained, network = load(NETWORK), NETWORKS[NETWORK]
    drawn = [
        make_scene(seed, split="held-out", size=network.input_size) for seed in range(given.scenes)
    ]
    images = torch.cat([normalised(scene, network) for scene in drawn])
    target = torch.tensor([scene.digits[0].label for scene in drawn])
    text = head(given.scenes, given.draws) + "\n" + parameters(trained, images, target, given.draws)
    if given.shuffled:
        other = load(NETWORK)
        other.load_state_dict(load_file(given.shuffled))
        text += "\n" + LABELS.format(scenes=given.scenes)
        text += "\n" + labels(trained, other, images, target)
        if given.output:
            picture = given.output.with_name(f"{given.output.stem}-labels.jpg")
            save_image(
                picture, side_by_side(trained, other, drawn[:2], images[:2], target[:2]), quality=80
            )
            text += f"\n![maps of both networks, method by method]({picture.name})\n"
    if given.output:
        given.output.write_text(text, encoding="utf-8")
    print(text)
    return 0


def head(scenes: int, draws: int) -> str:
    """What the page begins with."""
    return HEAD.format(
        date=datetime.date.today(),
        versions=", ".join(
            f"{name} {version}"
            for name, version in versions().items()
            if name in ("camport", "torch")
        ),
        network=NETWORK,
        scenes=scenes,
        drawn=f"{draws} draws of parameters, ± their standard deviation" if draws > 1 else ONE,
        settings="; ".join(
            f"{m} {k}={v}" for m, options in SETTINGS.items() for k, v in options.items()
        ),
    )


def parameters(trained: nn.Module, images: Tensor, target: Tensor, draws: int) -> str:
    """The table of parameters drawn anew, the methods in the order of its last column."""
    cascades = [list(cascade(trained, images, seed)) for seed in range(draws)]
    rows = []
    for method in methods(trained, images):
        own = maps(trained, method, images, target)
        found = [
            [float(spearman(own, maps(model, method, images, target)).mean()) for model in models]
            for models in cascades
        ]
        drawn = torch.tensor(found)
        rows.append(
            (method.name, drawn.mean(0).tolist(), drawn.std(0).tolist() if draws > 1 else None)
        )
        print(
            f"{method.name}: {', '.join(f'{v:.2f}' for v in rows[-1][1])}",
            file=sys.stderr,
            flush=True,
        )
    rows.sort(key=lambda row: row[1][-1])
    return table([f"{'+ ' if i else ''}{stage}" for i, stage in enumerate(STAGES)], rows)


def labels(trained: nn.Module, other: nn.Module, images: Tensor, target: Tensor) -> str:
    """The table of labels shuffled, the methods in the order of its first column."""
    rows = []
    for method in methods(trained, images):
        one, two = (
            camport.bind(model, method, NETWORKS[NETWORK].layer) for model in (trained, other)
        )
        found = compare_models(one, two, images, target)
        rows.append(
            (method.name, [float(found[name].mean()) for name in ("spearman", "ssim", "hog")], None)
        )
    rows.sort(key=lambda row: row[1][0])
    return table(["Spearman", "SSIM", "HOG"], rows)


def side_by_side(
    trained: nn.Module, other: nn.Module, scenes: Sequence[Scene], images: Tensor, target: Tensor
) -> Image.Image:
    """Two rows a scene: maps of the trained network,
    and of the one that learned shuffled labels."""
    rows = []
    found = [
        [
            (
                maps(model, registry.explainer(name)(), images, target).numpy(),
                camport.methods()[name],
            )
            for name in SHOWN
        ]
        for model in (trained, other)
    ]
    for i, scene in enumerate(scenes):
        asked = Cell(scene.image, f"where is {scene.digits[0].label}?")
        for first, of_model in zip((asked, None), found, strict=True):
            rows.append(
                [
                    first,
                    *(apply_colormap(pictured(each[i], info.family)) for each, info in of_model),
                ]
            )
    heads = ["", *(camport.methods()[name].title for name in SHOWN)]
    return grid(rows, columns=heads, row_labels=["true labels", "shuffled"] * len(scenes), cell=128)


def methods(trained: nn.Module, images: Tensor) -> Iterator[camport.Explainer]:
    """camport's own that fit the network, with the options of the page."""
    for name, info in camport.methods().items():
        method = registry.explainer(name)(**SETTINGS.get(name, {}))
        if info.distribution != "camport":
            continue
        try:
            camport.bind(trained, method, layer=NETWORKS[NETWORK].layer)(images[:1])
        except MethodError:
            continue
        yield method


def table(
    heads: Sequence[str], rows: Sequence[tuple[str, Sequence[float], Sequence[float] | None]]
) -> str:
    """A line a method: its name, its figures, and their spreads where there are any."""
    lines = [f"| method | {' | '.join(heads)} |", "| :--- |" + " ---: |" * len(heads)]
    for name, values, spreads in rows:
        cells = [f"{value:.2f}" for value in values]
        cells = (
            [f"{cell} ± {spread:.2f}" for cell, spread in zip(cells, spreads, strict=True)]
            if spreads
            else cells
        )
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def cascade(trained: nn.Module, images: Tensor, seed: int) -> list[nn.Module]:
    """The network with one stage more drawn anew each time."""
    stages = [(stage, "bn1") if stage == "conv1" else (stage,) for stage in STAGES]
    return [
        copy.deepcopy(model) for model in randomised(trained, stages, "cascading", images, seed)
    ]


def maps(model: nn.Module, method: camport.Explainer, images: Tensor, target: Tensor) -> Tensor:
    """The heatmaps [b,H,W]."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CamportWarning)
        return camport.bind(model, method, layer=NETWORKS[NETWORK].layer)(images, target).heatmap


def normalised(scene: Scene, network: Network) -> Tensor:
    """The scene as the network takes it, [1,3,H,W]."""
    pixels = torch.from_numpy(scene.image).float() / 255
    return ((pixels - torch.tensor(network.mean)) / torch.tensor(network.std)).permute(2, 0, 1)[
        None
    ]
