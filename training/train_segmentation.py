"""Trains the demo's segmentation network on digit scenes and writes its weights and held-out
scores.

    python training/train_segmentation.py

The classifier `digits` is the encoder and has to be there; it runs anew for every batch, since maps
of three strides are read from it.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from task_data import HELD_OUT_SCENES, drawn, fit, normalised, scene, trained
from torch import Tensor, nn
from torch.nn import functional as F

from camport.demo.segmenter import CLASSES
from camport.demo.task_networks import with_encoder

SCENES = 5_000
EPOCHS = 5
DIGITS_WEIGHT = 3.0
"""Of a digit's pixels in the loss: they are one in fifteen."""


def arrays(seeds: Sequence[int], split: str) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 [n,h,w,3] and the class of each pixel, uint8 [n,h,w]."""
    scenes = [scene(seed, split) for seed in seeds]
    classes = np.zeros((len(scenes), *scenes[0].image.shape[:2]), np.uint8)
    for row, found in zip(classes, scenes, strict=True):
        for digit in found.digits:
            row[digit.mask] = 1 + digit.label
    return np.stack([s.image for s in scenes]), classes


def train(name: str) -> nn.Module:
    parts = drawn(partial(arrays, split="train"), SCENES)
    images, classes = (
        torch.from_numpy(np.concatenate(found)) for found in zip(*parts, strict=True)
    )
    network = with_encoder(name)
    for part in (network.get_submodule("encoder"),):
        part.requires_grad_(False)
    network.train()
    network.get_submodule("encoder").eval()
    weight = torch.tensor([1.0] + [DIGITS_WEIGHT] * 10)

    def loss_of(rows: Tensor) -> Tensor:
        logits = network(normalised(images[rows]))["out"]
        return F.cross_entropy(logits, classes[rows].long(), weight)

    fit(name, network, len(images), loss_of, epochs=EPOCHS, rate=4e-3, batch=16)
    return network


@torch.no_grad()
def score(network: nn.Module) -> dict[str, Any]:
    """Intersection over union of each class over all pixels, and its mean over the digits."""
    images, classes = arrays(range(HELD_OUT_SCENES), "held-out")
    both, either = torch.zeros(len(CLASSES)), torch.zeros(len(CLASSES))
    for part, truth in zip(
        torch.from_numpy(images).split(50), torch.from_numpy(classes).split(50), strict=True
    ):
        said = network(normalised(part))["out"].argmax(1)
        for index in range(len(CLASSES)):
            mine, true = said == index, truth == index
            both[index] += (mine & true).sum()
            either[index] += (mine | true).sum()
    found = both / either
    by_class = {label: round(float(value), 4) for label, value in zip(CLASSES, found, strict=True)}
    return {"digits_mean_iou": round(float(found[1:].mean()), 4), "iou": by_class}


def main() -> None:
    trained("segmenter", train, score)


if __name__ == "__main__":
    main()
