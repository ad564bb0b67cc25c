"""Maps that know nothing of the model: what a method has to be better than."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

REFERENCES = {"random": "Random map", "centre": "Centre blob"}


def reference_map(name: str, example: str, size: tuple[int, int]) -> np.ndarray:
    """The map of one of REFERENCES for an example, float32 [H,W] in [0,1], the same at every call.

    random: independent uniform pixels. centre: a Gaussian in the middle, its deviation a quarter of
        each side.
    """
    if name == "random":
        return np.random.default_rng(zlib.crc32(example.encode())).random(size, dtype=np.float32)
    bells = [np.exp(-((np.linspace(-1, 1, n) / 0.5) ** 2) / 2) for n in size]
    return np.outer(*bells).astype(np.float32)


def reference_maps(name: str, examples: Sequence[str], size: tuple[int, int]) -> np.ndarray:
    """Those of a batch, [b,H,W]."""
    return np.stack([reference_map(name, example, size) for example in examples])
