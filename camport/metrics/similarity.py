"""How alike two maps are."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from camport.errors import MissingDependencyError

Similarity = Callable[[Tensor, Tensor], Tensor]
"""Of maps [b,H,W] and others, [b]; 1 for equal ones."""


def spearman(a: Float[Tensor, "b H W"], b: Float[Tensor, "b H W"]) -> Float[Tensor, " b"]:
    """Spearman's rank correlation, in [-1,1]; ties have the mean of their ranks,
    a flat map has 0."""
    both = zip(ranks(a.flatten(1)), ranks(b.flatten(1)), strict=True)
    return torch.stack([_correlation(x, y) for x, y in both])


def ssim(a: Float[Tensor, "b H W"], b: Float[Tensor, "b H W"]) -> Float[Tensor, " b"]:
    """Structural similarity of heatmaps in [0,1] (Wang et al. 2004), in [-1,1];
    windows of 7 pixels, or what fits."""
    measure = _skimage("metrics").structural_similarity
    window = min(7, min(a.shape[1:]) - (1 - min(a.shape[1:]) % 2))
    pairs = zip(a.double().cpu().numpy(), b.double().cpu().numpy(), strict=True)
    return torch.tensor(
        [measure(x, y, data_range=1.0, win_size=window) for x, y in pairs], dtype=torch.float64
    )


def hog(a: Float[Tensor, "b H W"], b: Float[Tensor, "b H W"]) -> Float[Tensor, " b"]:
    """Pearson's correlation of histograms of oriented gradients, in [-1,1]; of a flat map 0.

    Adebayo et al. 2018, arXiv 1810.03292, section 3: cells of 16 pixels, or what goes three times
    into the image.
    """
    describe = _skimage("feature").hog
    cell = max(1, min(16, min(a.shape[1:]) // 3))
    both = [
        [torch.from_numpy(describe(m, pixels_per_cell=(cell, cell))) for m in _arrays(v)]
        for v in (a, b)
    ]
    return torch.stack([_correlation(x.double(), y.double()) for x, y in zip(*both, strict=True)])


SIMILARITIES: Mapping[str, Similarity] = {"spearman": spearman, "ssim": ssim, "hog": hog}
"""By name."""


def _arrays(maps: Tensor) -> np.ndarray:
    return maps.double().cpu().numpy()


def ranks(values: Float[Tensor, "b n"]) -> Float[Tensor, "b n"]:
    """The rank of each value in its row, 0 the smallest; equal ones share the mean of theirs."""
    values = values.double()
    rising = values.sort(1).values.contiguous()
    below = torch.searchsorted(rising, values.contiguous())
    upto = torch.searchsorted(rising, values.contiguous(), right=True)
    return (below + upto - 1).double() / 2


def _correlation(x: Tensor, y: Tensor) -> Tensor:
    x, y = x - x.mean(), y - y.mean()
    length = x.norm() * y.norm()
    return torch.where(length > 0, (x * y).sum() / torch.where(length > 0, length, 1), 0)


def _skimage(part: str) -> Any:
    from importlib import import_module

    try:
        return import_module(f"skimage.{part}")
    except ModuleNotFoundError as error:
        remedy = 'pip install "camport[metrics]", or ask for spearman alone'
        raise MissingDependencyError(f"SSIM and HOG are scikit-image's: {remedy}") from error
