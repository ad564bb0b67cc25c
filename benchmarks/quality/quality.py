"""How good each method's maps are, by the code of `camport evaluate`.

`python -m benchmarks quality --records FOLDER -o benchmarks/QUALITY.md`; stopped and started again
it goes on from the records in that folder.
"""

import argparse
import datetime
import platform
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import camport
from benchmarks.quality import notes as quality_notes
from camport.bench.machine import versions
from camport.demo.networks import NETWORKS
from camport.demo.scenes import make_scene
from camport.evaluation import Evaluated, Example, Table, evaluate, open_data
from camport.evaluation.references import REFERENCES
from camport.evaluation.report import verdict
from camport.models import load_model

MARGIN = 32
"""The margin is the image's side divided by this: 4 of 128 pixels,
half a cell of the coarsest map."""

PHOTOGRAPHS = "imagenet"
SETTINGS: dict[str, str] = {
    "rise": "rise(samples=500)",
    "drise": "drise(samples=500)",
    "sscam": "sscam(samples=5)",
    "xrai": "xrai(steps=20)",
}
"""Options other than the defaults, for the table's time."""

WIDE = {"sscam": "sscam(samples=1)", "iscam": "iscam(samples=1)"}
"""On photographs, where the layer has 1280 channels and each costs a pass a sample."""
HEADS = {
    "insertion_deletion": "insertion minus deletion",
    "pointing_game": "pointing game",
    "energy_in_region": "energy in region",
}

METHOD = """\
Each figure is the mean over the images with the 95 % interval of the bootstrap; *italic* ones are not better than a
random map's on the same images. Methods stand in the order of their first column. *Insertion minus deletion* asks the
model alone: {steps} steps, insertion from the blurred image, deletion to 0. *Pointing game*: share
of maps whose maximum lies in the region or beside it by the margin of the column's head. *Energy in region*: share of
the map's sum in it. *Random map* and *centre blob* know nothing of the model.

{scenes} held-out digit scenes for `digits` and {fewer} for the others (seeds 0 and up; their digits and photographs
were not trained on), each asked about one of its digit classes in turn, whose region is the union of its boxes.
`imagenet` is `demo:imagenet` on the eleven questions about nine photographs with boxes drawn by hand
(`camport.demo.photographs`): so few rank no two methods that are close.
Options other than the defaults: {settings}. Layers: {layers}.
"""

NOTES = """\
## How to read it

- Insertion and deletion read nothing of a map but the order of its pixels. `cam` is `gradcam` with its sign here,
  and is far ahead of it in `digits`: it orders the places that speak against the class too, where `gradcam` has
  zeros, which stand in reading order. Wide maps (`occlusion`, `rise`, `integrated_gradients`) lead for the same
  reason, and have the least energy in the region; narrow ones (`guided_gradcam`) the other way round. No one column
  says which map is right.
- `feature_maps`, `eigencam`, `kpcacam`, `fem` and `dff` do not know what they were asked: their map is the same for
  every class of a scene, so that at most one of a scene's classes can be hit. Where they beat chance, digits,
  whichever, excite the layer more than the background does.
- `deconvnet` points right no more than by chance in `digits` and `gap-full`: all that its backward pass keeps of
  the image is which place each max-pooling took, and these networks have none; in `gap-pool`, which pools, it is
  well above chance. In the two without, its maps of one class are the same in all scenes (the table below).
- `fullgrad` is near chance in the networks of convolutions: it sums magnitudes of every layer, each channel's
  scaled to [0,1] by itself, and shows where a network computes, not what speaks for a class. With the authors'
  scaling, `preset="official"`, maps of two classes differ by a little more.
- `xrai` gives all pixels of a segment one value, and points by the one nearest to the segment's centroid.
- `sscam` suffers from its paper's noise, of standard deviation 2 on masks in [0,1]. With `sigma=0.5` it points
  right in 12 of 12 scenes of `digits` in place of 6, and its energy grows from 0.20 to 0.32: `camport evaluate -m
  demo:digits --data demo:scenes --count 12 --method 'sscam(samples=5)' --method 'sscam(samples=5, sigma=0.5)'
  --metric 'pointing_game(margin=4)' --metric energy_in_region -o FOLDER`.
- Methods whose map is spread over the image (`rise`, `drise`, `occlusion`, `integrated_gradients`) point well and
  have little energy in the boxes: stretched to [0,1], their background is far above zero.
- `gradcam`, `hirescam` and `xgradcam` are the same map where the layer is pooled and one linear layer follows, as
  in the three networks of convolutions. `cam` is that map too, with its sign: its maximum is the same, but
  stretching it to [0,1] lifts places without evidence above zero, which costs energy.
- `gap-full` is `gap-pool` with its poolings taken out and trained on. Its maps are sharper, not better placed
  ([experiments](../docs/experiments.md)).
- In `vit` values of both signs leave the layer, a layer normalisation. `ablationcam`, `xgradcam` and `gradcam++`
  give a channel the weight of what it adds as a whole, so that its places of the other sign count for the wrong
  side. By `camport evaluate -m demo:vit --data demo:scenes --count 40 --method NAME --metric
  'pointing_game(margin=2)' --layer LAYER -o FOLDER`, at `conv_proj.conv_bn_relu_2`, behind a ReLU, `ablationcam`
  goes from 0.25 to 0.95 and `xgradcam` from 0.10 to 0.48, although `gradcam` falls there from 0.65 to 0.48;
  `gradcam++` falls from 0.45 to 0.35. That fits, and is no proof: the two layers differ in depth as well.
- Behind a layer normalisation every place has the same mean and nearly the same magnitude, so `feature_maps` and
  `fem` are near chance in `vit`, and `eigencam` and `kpcacam` not far above it. `attention_rollout` does not know
  what it was asked; `legrad`, which reads how the score depends on attention, does.
- `dff` shows the concept with the largest share, which is the background more often than not; `DFF(concept=1)` and
  so on show the others.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    names = [*NETWORKS, PHOTOGRAPHS]
    parser = argparse.ArgumentParser(prog="python -m benchmarks quality", description=__doc__)
    parser.add_argument(
        "--scenes", type=int, default=60, help="how many held-out scenes for digits"
    )
    parser.add_argument(
        "--fewer", type=int, default=16, help="and for the other networks of digits"
    )
    parser.add_argument("--steps", type=int, default=25, help="of insertion and deletion")
    parser.add_argument("--networks", nargs="+", choices=names, default=names)
    parser.add_argument("--methods", nargs="+", help="all if left out")
    parser.add_argument("--records", type=Path, required=True, help="the folder of the records")
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch")
    parser.add_argument("-o", "--output", type=Path, help="the Markdown file; otherwise printed")
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    given.records.mkdir(exist_ok=True)
    tables: dict[str, Table] = {}
    layers: dict[str, str] = {}
    for name in given.networks:
        scenes = given.scenes if name == "digits" else given.fewer
        tables[name], layers[name] = measure(
            name, scenes, given.steps, given.methods, given.records / name
        )
        text = markdown(tables, layers, (given.scenes, given.fewer), given.steps)
        if given.output:
            given.output.write_text(text, encoding="utf-8")
    text = markdown(tables, layers, (given.scenes, given.fewer), given.steps, quality_notes.text())
    if given.output:
        given.output.write_text(text, encoding="utf-8")
    else:
        print(text)
    return 0


def measure(
    name: str, scenes: int, steps: int, methods: Sequence[str] | None, record: Path
) -> tuple[Table, str]:
    """Every method on one network, and the layer at which it is explained."""
    loaded = load_model(f"demo:{name}")
    subject = Evaluated(
        loaded.model,
        lambda model, method: camport.bind(model, method, loaded.layer),
        loaded.preprocess,
        loaded.labels,
        settings={"model": name},
    )
    examples = (
        open_data("demo:photographs")
        if name == PHOTOGRAPHS
        else questions(scenes, NETWORKS[name].input_size)
    )
    settings = {**SETTINGS, **WIDE} if name == PHOTOGRAPHS else SETTINGS
    chosen = [settings.get(method, method) for method in methods or camport.methods()]
    metrics = [
        f"insertion_deletion(steps={steps})",
        f"pointing_game(margin={margin(name)})",
        "energy_in_region",
    ]

    def progress(done: int, total: int, method: str) -> None:
        print(f"{name}: {done} of {total} {method}", file=sys.stderr, flush=True)

    return evaluate(
        subject, chosen, metrics, examples, record, progress=progress
    ), loaded.layer or "the one chosen"


def margin(name: str) -> int:
    """Of the pointing game, in pixels: Zhang et al. have 15 of 224 for photographs."""
    return 15 if name == PHOTOGRAPHS else NETWORKS[name].input_size // MARGIN


def questions(count: int, size: int) -> list[Example]:
    """One question about each scene."""
    found = []
    for seed in range(count):
        scene = make_scene(seed, split="held-out", size=size)
        classes = sorted({digit.label for digit in scene.digits})
        label = classes[seed % len(classes)]
        boxes = np.array([digit.box for digit in scene.digits if digit.label == label], np.float32)
        found.append(
            Example(f"scene {seed}, {label}", partial(Image.fromarray, scene.image), label, boxes)
        )
    return found


def markdown(
    tables: dict[str, Table],
    layers: dict[str, str],
    scenes: tuple[int, int],
    steps: int,
    alike: str = "",
) -> str:
    """The page; `alike` is what `benchmarks.quality.notes` measures."""
    used = {name: version for name, version in versions().items() if name in ("camport", "torch")}
    parts = [
        "# How good the maps are",
        f"{datetime.date.today()}. Python {platform.python_version()}, "
        + ", ".join(f"{name} {version}" for name, version in used.items())
        + ", CPU.",
        METHOD.format(
            scenes=scenes[0],
            fewer=scenes[1],
            steps=steps,
            settings=", ".join(f"`{text}`" for text in SETTINGS.values())
            + "; on photographs "
            + ", ".join(f"`{text}`" for text in WIDE.values()),
            layers=", ".join(f"`{layer}` of {name}" for name, layer in layers.items()),
        ),
        "`python -m benchmarks quality --records FOLDER -o benchmarks/QUALITY.md` makes this file.",
    ]
    for name, table in tables.items():
        parts += [f"## {name}", verdict(table), "\n".join(_table(table))]
        reasons = [
            f"- `{method}`: {reason}" for method, metric, reason in table.refusals if not metric
        ]
        parts += (
            ["What does not fit this network, and why:\n\n" + "\n".join(reasons)] if reasons else []
        )
    return "\n\n".join(part.strip() for part in (*parts, NOTES, alike) if part) + "\n"


def _table(table: Table) -> Iterator[str]:
    metrics = list(dict.fromkeys(cell.metric for cell in table.cells))
    yield "| method | " + " | ".join(_head(metric) for metric in metrics) + " | mean rank |"
    yield "| :--- |" + " ---: |" * (len(metrics) + 1)
    found = {cell.method: cell.mean for cell in table.cells if cell.metric == metrics[0]}
    for method in sorted(found, key=lambda m: -found[m]):
        cells = []
        for metric in metrics:
            cell = table.cell(method, metric)
            text = "-" if cell is None else f"{cell.mean:.3f} [{cell.low:.3f}, {cell.high:.3f}]"
            weak = (
                cell is not None
                and cell.gain_low is not None
                and cell.gain_low <= 0
                and metric != "flat"
            )
            cells.append(f"*{text}*" if weak else text)
        rank = f"{table.ranks[method]:.1f}" if method in table.ranks else "-"
        yield f"| {REFERENCES.get(method, f'`{method}`')} | {' | '.join(cells)} | {rank} |"


def _head(metric: str) -> str:
    name, _, options = metric.partition("(")
    told = options.rstrip(")").replace("margin=", "margin ") if name == "pointing_game" else ""
    return HEADS.get(name, name) + (f", {told}" if told else "")
