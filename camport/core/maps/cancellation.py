"""Sums over channels that cancel to rounding noise: said in a warning,
since every map is scaled to [0,1]."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from camport.errors import GuardWarning

if TYPE_CHECKING:
    from camport.core.probe import Probe

CANCELLED = 1e-5
"""A sum below this share of its terms' absolute sum is rounding: float32 has 6e-8 a term,
a layer hundreds of them."""


def warn_of_cancellation(method: str, probe: Probe, gradients: Sequence[Tensor]) -> None:
    """GuardWarning where sum_k G_k A_k is rounding noise everywhere in the map of an image.

    A layer normalisation does not see the length of what it takes in: it is homogeneous of degree
    0, and by Euler's theorem sum_k (dy/dA_k) A_k = 0 at each place that the score sees through it
    alone.

    Args:
        method: its name.
        probe: of the explanation.
        gradients: G, a [b,c,h,w] a layer.
    """
    for layer, a, g in zip(probe.layers, probe.activations, gradients, strict=True):
        terms = a * g
        largest = terms.abs().sum(1).amax((1, 2))
        left = terms.sum(1).abs().amax((1, 2))
        noise = (largest > 0) & (left <= CANCELLED * largest)
        if bool(noise.any()):
            image = int(noise.nonzero()[0])
            share = float(left[image] / largest[image])
            warnings.warn(
                f"{method} at {layer}: gradients times activations of image {image} cancel over the"
                f" channels, to {share:.0e} of their size: the score sees each place through a"
                " layer normalisation, and the map is rounding noise. Choose a layer behind the"
                " normalisation, or gradcam",
                GuardWarning,
                stacklevel=6,
            )
