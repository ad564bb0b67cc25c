"""Trains the demo's captioners on digit scenes and writes their weights and held-out scores.

    python training/train_captioner.py [captioner] [plain-captioner]

One looks at the image anew for every word, the plain one is told once what is there. Scenes have
one to three digits. The classifier `digits` is the encoder and has to be there.

Where the first has to look is taught, as in "Attention Correctness in Neural Image Captioning" (Liu
et al. 2016, arXiv 1605.09553): for a digit's word at that digit's box. Left alone it takes short
cuts ("an" says already that an eight follows, one of two sevens will do for both), and a map that
shows a short cut cannot be told from a map that is wrong.
"""

import sys
from collections.abc import Sequence
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from task_data import (
    HELD_OUT_SCENES,
    cells,
    drawn,
    encoded,
    fit,
    fresh,
    looked_past,
    normalised,
    scene,
    trained,
)
from torch import Tensor, nn
from torch.nn import functional as F

from camport.demo.captioner import AttentionDecoder, Captioner
from camport.demo.language import (
    CAPTION_LENGTH,
    CAPTION_WORDS,
    END,
    PAD,
    START,
    caption_text,
    caption_tokens,
)
from camport.demo.scenes import LABELS, in_caption_order

SCENES = 10_000
MOST_DIGITS = 3
LOOKING = 0.2
"""How much looking past a digit counts in the loss."""
EPOCHS = {"captioner": 8, "plain-captioner": 10}


def arrays(seeds: Sequence[int], split: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images uint8 [n,h,w,3], captions as tokens [n,t], and for each token the box of its digit,
    in cells [n,t,4]."""
    scenes = [scene(seed, split, MOST_DIGITS) for seed in seeds]
    tokens = np.array([caption_tokens(s.caption) for s in scenes])
    boxes = np.zeros((*tokens.shape, 4), np.int64)
    for said, places, found in zip(tokens, boxes, scenes, strict=True):
        named = [place for place, token in enumerate(said) if CAPTION_WORDS[token] in LABELS]
        for place, digit in zip(named, in_caption_order(found.digits), strict=True):
            places[place] = cells(digit.box)
    return np.stack([s.image for s in scenes]), tokens, boxes


@cache
def seen() -> tuple[Tensor, Tensor, Tensor]:
    """The encoder's maps of all training scenes, their captions and boxes:
    the same for both networks."""
    parts = drawn(partial(arrays, split="train"), SCENES)
    images, tokens, boxes = (
        torch.from_numpy(np.concatenate(found)) for found in zip(*parts, strict=True)
    )
    return encoded("captioner", images), tokens, boxes


def train(name: str) -> nn.Module:
    maps, tokens, boxes = seen()
    network = fresh(name)
    assert isinstance(network, Captioner)

    def loss_of(rows: Tensor) -> Tensor:
        heard, wanted, past = tokens[rows, :-1], tokens[rows, 1:], torch.zeros(())
        if isinstance(network.decoder, AttentionDecoder):
            logits, weights = network.decoder.look(maps[rows].float(), heard)
            past = looked_past(weights, boxes[rows, 1:])
        else:
            logits = network.decoder(maps[rows].float(), heard)
        return (
            F.cross_entropy(logits.flatten(0, 1), wanted.flatten(), ignore_index=PAD)
            + LOOKING * past
        )

    fit(name, network, len(tokens), loss_of, epochs=EPOCHS[name], rate=3e-3)
    return network


@torch.no_grad()
def score(network: nn.Module) -> dict[str, Any]:
    """How often the network's own caption is the true one,
    and how often it names the same digits in that order."""
    images, wanted, _ = arrays(range(HELD_OUT_SCENES), "held-out")
    exact, digits = [], []
    for part, truths in zip(
        torch.from_numpy(images).split(100), torch.from_numpy(wanted).split(100), strict=True
    ):
        pixels = normalised(part)
        tokens = torch.full((len(part), 1), START)
        while tokens.shape[1] < CAPTION_LENGTH:
            tokens = torch.cat([tokens, network(pixels, tokens)[:, -1].argmax(1, keepdim=True)], 1)
        for said, truth in zip(tokens.tolist(), truths.tolist(), strict=True):
            said = [*said[: said.index(END)], END] if END in said else said
            mine, true = caption_text(said).split(), caption_text(truth).split()
            exact.append(mine == true)
            digits.append(named(mine) == named(true))
    return {
        "caption_exact": round(float(np.mean(exact)), 4),
        "digits_named_in_order": round(float(np.mean(digits)), 4),
    }


def named(words: Sequence[str]) -> list[str]:
    """The digits among the words."""
    return [word.strip(",") for word in words if word.strip(",") in LABELS]


def main() -> None:
    for name in sys.argv[1:] or EPOCHS:
        trained(name, train, score)


if __name__ == "__main__":
    main()
