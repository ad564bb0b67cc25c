"""Writes the demo's six sample scenes to camport/demo/samples: held out, distinct digits,
all told right.

    python training/make_samples.py

Seeds are walked in order; a scene is taken when its photograph has colours, its digits are large
and the network is sure and right about all ten classes. No class is shown more than twice.
"""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import camport.demo
from camport.demo.networks import NETWORKS, load
from camport.demo.scenes import LABELS, Scene, make_scene

SAMPLES = Path(camport.demo.__file__).parent / "samples"
FIRST_SEED = 5000  # beyond the scenes that scores.json is about
COUNTS = (2, 3, 4, 2, 3, 4)  # digits in each sample
LEAST_MARGIN = 2.0  # every logit is at least this far on its right side of zero
LEAST_SIDE = 30.0  # every digit's height in pixels: a person reads it at a glance
LEAST_COLOUR = 40.0  # the mean distance between a pixel's channels: leaves grey photographs out


@torch.no_grad()
def margin(network: torch.nn.Module, scene: Scene) -> float:
    """How far the least certain logit is on its right side of zero."""
    card = NETWORKS["digits"]
    pixels = torch.from_numpy(scene.image).float() / 255
    inputs = ((pixels - torch.tensor(card.mean)) / torch.tensor(card.std)).permute(2, 0, 1)[None]
    present = {digit.label for digit in scene.digits}
    signs = torch.tensor([1.0 if label in present else -1.0 for label in range(len(LABELS))])
    return float((network(inputs)[0] * signs).min())


def main() -> None:
    network = load("digits")
    SAMPLES.mkdir(exist_ok=True)
    for old in SAMPLES.glob("*.png"):
        old.unlink()
    taken: list[dict[str, object]] = []
    shown: Counter[int] = Counter()
    seed = FIRST_SEED
    while len(taken) < len(COUNTS):
        scene = make_scene(seed, split="held-out", digits=COUNTS[len(taken)])
        labels = [digit.label for digit in scene.digits]
        fresh = len(set(labels)) == len(labels) and all(shown[label] < 2 for label in labels)
        large = all(digit.box[3] - digit.box[1] >= LEAST_SIDE for digit in scene.digits)
        vivid = float(np.ptp(scene.image, axis=2).mean()) >= LEAST_COLOUR
        if fresh and large and vivid and margin(network, scene) >= LEAST_MARGIN:
            shown.update(labels)
            name = f"{'-'.join(LABELS[label] for label in labels)}.png"
            Image.fromarray(scene.image).save(SAMPLES / name, optimize=True)
            digits = [{"label": digit.label, "box": digit.box} for digit in scene.digits]
            taken.append({"file": name, "seed": seed, "caption": scene.caption, "digits": digits})
        seed += 1
    (SAMPLES / "samples.json").write_text(json.dumps(taken, indent=2) + "\n")


if __name__ == "__main__":
    main()
