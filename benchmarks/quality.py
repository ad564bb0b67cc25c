"""How well each method points on held-out digit scenes: `python -m benchmarks.quality -o benchmarks/QUALITY.md`."""

import argparse
import datetime
import platform
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

import camport
from benchmarks.machine import versions
from camport.core import registry
from camport.demo.networks import NETWORKS, WEIGHTS, Network, load
from camport.demo.scenes import Scene, make_scene
from camport.errors import MethodError
from camport.metrics import EnergyInRegion, PointingGame
from camport.metrics.evaluation import Batch, Evaluation, evaluate

SCENES_AT_ONCE = 4
METRICS = {
    "pointing_game": "pointing game",
    "pointing_margin": "with margin",
    "energy_in_region": "energy in boxes",
}
MARGIN = 32
"""The margin is the image's side divided by this: 4 of 128 pixels, half a cell of the coarsest map."""

SLOW = ("perturbation", "integrated_gradients", "smoothgrad", "smoothgradcam++", "xrai")
"""Families and methods that run the network often: they explain fewer scenes."""

SETTINGS: dict[str, dict[str, int]] = {
    "rise": {"samples": 500},
    "drise": {"samples": 500},
    "sscam": {"samples": 5},
    "xrai": {"steps": 20},
}
"""Options other than the defaults, for the table's time."""

METHOD = """\
Held-out scenes (seeds 0 and up; their digits and photographs were not trained on), each explained once for every
digit class that is in it; *explained* is how many explanations that were. Methods with many passes see the first
{slow} scenes, the others {scenes}. Options other than the defaults: {settings}.

The region is the union of that class's boxes. *Pointing game*: share of heatmaps whose maximum lies in the region;
*with margin*, in it or beside it by 1/32 of the image's side (4 of 128 pixels, 2 of 64). *Energy in boxes*: share of
the heatmap's sum in it. *Chance* is the region's share of the area, which a map that knows nothing reaches in both.
*Flat* counts maps without any contrast, which score 0. Layers: {layers}.
"""

NOTES = """\
## How to read it

- `feature_maps`, `eigencam`, `kpcacam`, `fem` and `dff` do not know what they were asked: their map is the same for
  every class of a scene, so that at most one of a scene's classes can be hit (scenes over explained: 0.39). They beat
  chance because digits, whichever, excite the layer more than the background does.
- `deconvnet` is at chance in `digits` and `gap-full`: all that its backward pass keeps of the image is which place each
  max-pooling took, and these networks have none. Over 8 scenes the cosine of the maps of two scenes is 1.0000 for the
  same class; in `gap-pool`, which pools, 0.85, and it is well above chance.
- `fullgrad` is near chance or below it: it sums magnitudes of every layer, each channel's scaled to [0,1] by itself.
  Over 6 scenes the cosine of the maps of two classes is 0.997 and more in `digits` and 0.9997 in `gap-pool`, of two
  scenes 0.94: it shows where a network computes, not what speaks for a class. The authors' scaling
  (`preset="official"`) gives 0.98 and 0.96 between classes and 0.94 and 0.83 between scenes; over 30 scenes it points
  right in 0.45 of the cases in `digits` and in 0.20 in `gap-pool`, where this one does in 0.21 and 0.07. In `gap-pool`
  its maximum lies within 1/21 of the image's edge in 0.63 of 30 maps (0.18 of the area), in `digits` no more than by
  chance.
- `xrai` gives all pixels of a segment one value, and points by the one nearest to the segment's centroid. With the
  first in reading order, at the segment's edge, it would point right in about half of the cases.
- `sscam` suffers from its paper's noise, of standard deviation 2 on masks in [0,1]: on 4 scenes of `digits`, 5 samples,
  it points right in 0.54 of the cases, with `sigma=0.5` in all, and its energy grows from 0.20 to 0.32.
- Methods whose map is spread over the image (`rise`, `drise`, `occlusion`, `integrated_gradients`) point well and have
  little energy in the boxes: stretched to [0,1], their background is far above zero.
- `gradcam`, `hirescam` and `xgradcam` are the same map where the layer is pooled and one linear layer follows, as in
  the three networks of convolutions. `cam` is that map too, with its sign: its maximum is the same, but stretching it
  to [0,1] lifts places without evidence above zero, which costs energy.
- Most misses in the pointing game lie just beside the right box, as the column with a margin shows: the maps of
  `digits` have one value for 8 x 8 pixels, those of `gap-pool` one for 4 x 4.
- `gap-full` is `gap-pool` with its poolings taken out and trained on. Its maps are sharper, not better placed.
- `vit` knows the digits best of the four (balanced accuracy 0.981) and is the hardest to explain by its activations.
  `legrad`, which reads how the score depends on attention, points right in 0.86 of the cases and beside in 0.97;
  `attention_rollout` does not know what it was asked, as the methods of the first note.
- In `vit`, half of what the layer puts out is negative (0.52). `ablationcam`, `xgradcam` and `gradcam++` give a channel
  the weight of what it adds as a whole, so that its places of the other sign count for the wrong side. Over 40 scenes,
  at `conv_proj.conv_bn_relu_2`, behind a ReLU, `ablationcam` goes from 0.28 to 0.86 and `xgradcam` from 0.18 to 0.45,
  although `gradcam` falls there from 0.65 to 0.36; `gradcam++` stays at 0.3. That fits, and is no proof: the two layers
  differ in depth as well.
- Behind a layer normalisation every place has the same mean and nearly the same magnitude (0.74 on digits, 0.73 beside
  them), so `feature_maps` and `fem` are near chance in `vit`, and `eigencam` and `kpcacam` not far above it.
- `dff` shows the concept with the largest share, which in `vit` is the background: its maximum lies in no box at all.
  `DFF(concept=1)` and so on show the others.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality", description=__doc__)
    parser.add_argument("--scenes", type=int, default=300, help="how many held-out scenes")
    parser.add_argument("--slow-scenes", type=int, default=20, help="how many for methods of many passes")
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS), default=None, help="those that are there")
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch")
    parser.add_argument("-o", "--output", type=Path, help="the Markdown file; otherwise printed")
    given = parser.parse_args(arguments)
    for option in ("scenes", "slow_scenes"):
        if getattr(given, option) < 1:
            parser.error(f"--{option.replace('_', '-')} {getattr(given, option)}: at least 1")
    if given.output and not given.output.parent.is_dir():
        parser.error(f"the directory {given.output.parent} does not exist")
    torch.set_num_threads(given.threads)
    shipped = [name for name in NETWORKS if (WEIGHTS / f"{name}.safetensors").is_file()]
    chosen = given.networks or shipped
    if missing := [name for name in chosen if name not in shipped]:
        parser.error(f"no weights of {', '.join(missing)}; there are those of {', '.join(shipped) or 'none'}")
    counts = given.scenes, min(given.slow_scenes, given.scenes)
    text = markdown({name: measure(name, *counts) for name in chosen}, *counts)
    if given.output:
        given.output.write_text(text, encoding="utf-8")
    print(text)
    return 0


def measure(name: str, scenes: int, slow_scenes: int) -> dict[str, Evaluation | str]:
    """Every registered method on one network: what it reached, or why it does not fit."""
    network, model = NETWORKS[name], load(name)
    drawn = [make_scene(seed, split="held-out", size=network.input_size) for seed in range(scenes)]
    metrics = {
        "pointing_game": PointingGame(),
        "pointing_margin": PointingGame(network.input_size // MARGIN),
        "energy_in_region": EnergyInRegion(),
    }
    found: dict[str, Evaluation | str] = {}
    for method, info in camport.methods().items():
        explainer = registry.explainer(method)(**SETTINGS.get(method, {}))
        bound = camport.bind(model, explainer, layer=network.layer)
        shown = drawn[:slow_scenes] if {info.family, method} & {*SLOW} else drawn
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", camport.CamportWarning)
                found[method] = reached = evaluate(bound, batches(shown, network), metrics)
        except MethodError as error:
            found[method] = str(error)
            line = f"does not fit: {error}"
        else:
            line = ", ".join(f"{metric} {score:.3f}" for metric, score in reached.scores.items())
        print(f"{name} {method}: {line}", file=sys.stderr, flush=True)
    return found


def batches(scenes: Sequence[Scene], network: Network) -> Iterator[Batch]:
    """A batch of a few scenes: each image, once for each digit class in it, with the union of that class's boxes."""
    for start in range(0, len(scenes), SCENES_AT_ONCE):
        asked = [
            (normalised(scene, network), label, region(scene, label))
            for scene in scenes[start : start + SCENES_AT_ONCE]
            for label in sorted({digit.label for digit in scene.digits})
        ]
        images, labels, regions = zip(*asked, strict=True)
        yield torch.cat(images), torch.tensor(labels), torch.stack(regions)


def normalised(scene: Scene, network: Network) -> Tensor:
    """The scene as the network takes it, [1, 3, H, W]."""
    pixels = torch.from_numpy(scene.image).float() / 255
    return ((pixels - torch.tensor(network.mean)) / torch.tensor(network.std)).permute(2, 0, 1)[None]


def region(scene: Scene, label: int) -> Tensor:
    """Where the boxes of this class are, bool [H, W]."""
    inside = torch.zeros(scene.image.shape[:2], dtype=torch.bool)
    for digit in scene.digits:
        if digit.label == label:
            x0, y0, x1, y1 = map(int, digit.box)
            inside[y0:y1, x0:x1] = True
    return inside


def markdown(found: dict[str, dict[str, Evaluation | str]], scenes: int, slow_scenes: int) -> str:
    """The tables."""
    settings = "; ".join(f"{m} {k}={v}" for m, options in SETTINGS.items() for k, v in options.items())
    used = {name: version for name, version in versions().items() if name in ("camport", "torch")}
    parts = [
        "# How well the methods point",
        f"{datetime.date.today()}. Python {platform.python_version()}, "
        + ", ".join(f"{name} {version}" for name, version in used.items())
        + ", CPU.",
        METHOD.format(
            scenes=scenes,
            slow=slow_scenes,
            settings=settings,
            layers=", ".join(f"`{NETWORKS[name].layer}` of {name}" for name in found),
        ),
        "`python -m benchmarks.quality -o benchmarks/QUALITY.md` makes this file.",
    ]
    for name, rows in found.items():
        parts += [f"## {name} ({NETWORKS[name].input_size} x {NETWORKS[name].input_size})", "\n".join(_table(rows))]
        refusals = [f"- `{method}`: {reason}" for method, reason in rows.items() if isinstance(reason, str)]
        parts += ["What does not fit this network, and why:\n\n" + "\n".join(refusals)] if refusals else []
    return "\n\n".join(part.strip() for part in (*parts, NOTES) if part) + "\n"


def _table(rows: dict[str, Evaluation | str]) -> Iterator[str]:
    metrics = next(list(e.scores) for e in rows.values() if isinstance(e, Evaluation))
    yield "| method | " + " | ".join(METRICS.get(metric, metric) for metric in metrics) + " | flat | explained |"
    yield "| :--- |" + " ---: |" * (len(metrics) + 2)
    chance = 0.0
    for method, found in rows.items():
        if isinstance(found, str):
            yield f"| {method} |" + " - |" * (len(metrics) + 2)
            continue
        chance = chance or found.chance  # the first row's is that of the most scenes
        scores = " | ".join(f"{found.scores[metric]:.3f}" for metric in metrics)
        yield f"| {method} | {scores} | {found.flat} | {found.images} |"
    chances = " | ".join(f"{chance:.3f}" if metric in METRICS else "-" for metric in metrics)
    yield f"| *chance* | {chances} | | |"


if __name__ == "__main__":
    sys.exit(main())
