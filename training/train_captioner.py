"""Trains the demo's captioner on digit scenes and writes its weights and held-out scores.

    python training/train_captioner.py

Scenes have one to three digits. The classifier `digits` is the encoder and has to be there.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from task_data import HELD_OUT_SCENES, drawn, encoded, fit, normalised, scene, trained
from torch import Tensor, nn
from torch.nn import functional as F

from camport.demo.captioner import Captioner
from camport.demo.language import CAPTION_LENGTH, END, PAD, START, caption_text, caption_tokens
from camport.demo.task_networks import with_encoder

SCENES = 10_000
MOST_DIGITS = 3
EPOCHS = 7


def arrays(seeds: Sequence[int], split: str) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 [n,h,w,3] and captions as tokens [n,t]."""
    scenes = [scene(seed, split, MOST_DIGITS) for seed in seeds]
    return np.stack([s.image for s in scenes]), np.array([caption_tokens(s.caption) for s in scenes])


def train(name: str) -> nn.Module:
    parts = drawn(partial(arrays, split="train"), SCENES)
    images, tokens = (torch.from_numpy(np.concatenate(found)) for found in zip(*parts, strict=True))
    maps = encoded(name, images)
    network = with_encoder(name)
    assert isinstance(network, Captioner)
    network.encoder.eval()

    def loss_of(rows: Tensor) -> Tensor:
        logits = network.decoder(maps[rows].float(), tokens[rows, :-1])
        return F.cross_entropy(logits.flatten(0, 1), tokens[rows, 1:].flatten(), ignore_index=PAD)

    fit(name, network, len(tokens), loss_of, epochs=EPOCHS, rate=3e-3)
    return network


@torch.no_grad()
def score(network: nn.Module) -> dict[str, Any]:
    """How often the network's own caption is the true one, and how often it names the same digits in that order."""
    images, wanted = arrays(range(HELD_OUT_SCENES), "held-out")
    exact, digits = [], []
    for part, truths in zip(torch.from_numpy(images).split(100), torch.from_numpy(wanted).split(100), strict=True):
        pixels = normalised(part)
        tokens = torch.full((len(part), 1), START)
        while tokens.shape[1] < CAPTION_LENGTH:
            tokens = torch.cat([tokens, network(pixels, tokens)[:, -1].argmax(1, keepdim=True)], 1)
        for said, truth in zip(tokens.tolist(), truths.tolist(), strict=True):
            said = [*said[: said.index(END)], END] if END in said else said
            mine, true = caption_text(said).split(), caption_text(truth).split()
            exact.append(mine == true)
            digits.append(named(mine) == named(true))
    return {"caption_exact": round(float(np.mean(exact)), 4), "digits_named_in_order": round(float(np.mean(digits)), 4)}


def named(words: Sequence[str]) -> list[str]:
    """The digits among the words."""
    from camport.demo.scenes import LABELS

    return [word.strip(",") for word in words if word.strip(",") in LABELS]


def main() -> None:
    trained("captioner", train, score)


if __name__ == "__main__":
    main()
