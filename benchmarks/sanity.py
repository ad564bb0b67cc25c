"""Which methods notice that a network's weights are gone: `python -m benchmarks.sanity -o benchmarks/SANITY.md`."""

import argparse
import copy
import datetime
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

import camport
from camport.bench.machine import versions
from camport.core import registry
from camport.demo.networks import NETWORKS, Network, load
from camport.demo.scenes import Scene, make_scene
from camport.errors import CamportWarning, MethodError
from camport.metrics.sanity import randomised
from camport.metrics.similarity import spearman

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
`python -m benchmarks.sanity -o benchmarks/SANITY.md` makes this file.

Cascading randomisation of parameters (Adebayo et al. 2018, arXiv 1810.03292, section 3.1): from the output to the image
each stage's parameters are drawn anew, as PyTorch initialises them, and the statistics of its batch norms are measured
again. The figure is Spearman's rank correlation of a heatmap with that of the trained network, the mean over scenes;
draws of parameters: {draws}. A method that reads what the network has learned comes near 0; one that stays near 1 shows
what any network of this shape would: edges, and where activations are large.

Options other than the defaults: {settings}.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sanity", description=__doc__)
    parser.add_argument("--scenes", type=int, default=4)
    parser.add_argument("--draws", type=int, default=1)
    parser.add_argument("-o", "--output", type=Path, help="the Markdown file; otherwise printed")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    text = markdown(given.scenes, given.draws)
    if given.output:
        given.output.write_text(text, encoding="utf-8")
    print(text)
    return 0


def markdown(scenes: int, draws: int) -> str:
    """The page."""
    network = NETWORKS[NETWORK]
    drawn = [make_scene(seed, split="held-out", size=network.input_size) for seed in range(scenes)]
    images = torch.cat([normalised(scene, network) for scene in drawn])
    target = torch.tensor([scene.digits[0].label for scene in drawn])
    trained = load(NETWORK)
    cascades = [list(cascade(trained, images, seed)) for seed in range(draws)]
    rows = []
    for name, info in camport.methods().items():
        if info.distribution != "camport":
            continue
        method = registry.explainer(name)(**SETTINGS.get(name, {}))
        try:
            own = maps(trained, method, images, target)
        except MethodError:
            continue
        found = [
            [float(spearman(own, maps(model, method, images, target)).mean()) for model in models]
            for models in cascades
        ]
        rows.append((name, torch.tensor(found).mean(0).tolist()))
        print(f"{name}: {', '.join(f'{v:.2f}' for v in rows[-1][1])}", file=sys.stderr, flush=True)
    rows.sort(key=lambda row: row[1][-1])
    used = ", ".join(f"{name} {version}" for name, version in versions().items() if name in ("camport", "torch"))
    settings = SETTINGS
    head = HEAD.format(
        date=datetime.date.today(),
        versions=used,
        network=NETWORK,
        scenes=scenes,
        draws=draws,
        settings="; ".join(f"{m} {k}={v}" for m, options in settings.items() for k, v in options.items()),
    )
    lines = ["| method | " + " | ".join(f"{'+ ' if i else ''}{stage}" for i, stage in enumerate(STAGES)) + " |"]
    lines += ["| :--- |" + " ---: |" * len(STAGES)]
    lines += [f"| {name} | " + " | ".join(f"{value:.2f}" for value in values) + " |" for name, values in rows]
    return head + "\n" + "\n".join(lines) + "\n"


def cascade(trained: nn.Module, images: Tensor, seed: int) -> list[nn.Module]:
    """The network with one stage more drawn anew each time."""
    stages = [(stage, "bn1") if stage == "conv1" else (stage,) for stage in STAGES]
    return [copy.deepcopy(model) for model in randomised(trained, stages, "cascading", images, seed)]


def maps(model: nn.Module, method: camport.Explainer, images: Tensor, target: Tensor) -> Tensor:
    """The heatmaps [b,H,W]."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CamportWarning)
        return camport.bind(model, method, layer=NETWORKS[NETWORK].layer)(images, target).heatmap


def normalised(scene: Scene, network: Network) -> Tensor:
    """The scene as the network takes it, [1,3,H,W]."""
    pixels = torch.from_numpy(scene.image).float() / 255
    return ((pixels - torch.tensor(network.mean)) / torch.tensor(network.std)).permute(2, 0, 1)[None]


if __name__ == "__main__":
    sys.exit(main())
