"""RISE."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from camport.core.explainer import Explainer
from camport.core.maps.loop import traced
from camport.core.maps.noise import uniform
from camport.core.probe import Probe
from camport.errors import InputError

PRESETS = {"paper": (4000, 7, 0.5), "official": (6000, 8, 0.1)}
"""Masks, cells a side, probability of a cell to be seen."""


@dataclass(frozen=True)
class RISE(Explainer):
    r"""RISE: the mean of random masks, each weighted by what the model says of the image seen
    through it.

    .. math:: S = \frac{1}{N\,p} \sum_{i=1}^{N} p^c(x \odot M_i)\, M_i

    Petsiuk et al. 2018, arXiv 1806.07421, eq. 6. A mask is a grid of s x s cells, each 1 with
    probability p, upsampled bilinearly to (s+1) x (s+1) cells of H/s x W/s pixels and cut out at a
    random place. The model is seen from outside: no layer, no gradient. Masks are made from the
    seed as they are needed, and never held together.

    `Explanation.figures["monte_carlo_error"]` [b] is the map's standard error over its norm: how
    far another seed's map is from the one of infinitely many masks.

    Deviation: cells are H/s pixels rounded up; the paper's are rounded down, which leaves a part of
    the image without a mask where s does not divide H.

    Presets: "paper" takes 4000 masks (the paper's number for VGG-16; it has 8000 for ResNet-50), s
    = 7 and p = 0.5; "official", the authors' program, 6000, s = 8 and p = 0.1, and mirrors the grid
    at its edges instead of repeating its last value.

    Map: [b,H,W] of the images, >= 0.
    Cost: `1 + N` forward passes, one a mask.

    Args:
        samples: N; None is the preset's.
        cells: s; likewise.
        probability: p; likewise.
        seed: chooses the masks.
        preset: "paper", or "official".
    """

    name: ClassVar[str] = "rise"
    title: ClassVar[str] = "RISE"
    paper: ClassVar[str] = "1806.07421"
    family: ClassVar[str] = "perturbation"
    needs_gradients: ClassVar[bool] = False
    needs_layer: ClassVar[bool] = False

    samples: int | None = None
    cells: int | None = None
    probability: float | None = None
    seed: int = 0
    preset: Literal["paper", "official"] = "paper"

    def __post_init__(self) -> None:
        samples, cells, p = self._numbers()
        if samples < 1 or cells < 1 or not 0 < p <= 1:
            raise InputError(
                f"{samples} samples of {cells} cells seen with probability {p}; wanted 1 or more, 0"
                " < p <= 1"
            )

    def saliency(self, probe: Probe) -> Float[Tensor, "b H W"]:
        """sum_i p(x * M_i) M_i / (N p)."""
        images, (samples, _, p) = probe.images, self._numbers()
        moments = 1 if traced() else 2

        def step(numbers: Tensor) -> Tensor:
            masks = self.masks(numbers, images)[:, None]
            scores = probe.score(images * masks[:, :, None], probability=True)[:, :, None, None]
            seen = scores * masks
            return torch.stack([seen, seen * seen][:moments], 1)

        sums = probe.total([torch.arange(samples, device=images.device)], step) / samples
        probe.note("monte_carlo_error", lambda: _relative_error(sums, samples))
        return sums[0] / p

    def masks(
        self, numbers: Int[Tensor, " m"], images: Float[Tensor, "b c H W"]
    ) -> Float[Tensor, "m H W"]:
        """The masks of these numbers, in [0,1]."""
        _, s, p = self._numbers()
        drawn = uniform(self.seed, numbers, s * s + 2).to(images.dtype)
        grids = (drawn[:, : s * s] < p).to(images.dtype).unflatten(1, (s, s))
        rows = self._interpolation(images.shape[2], s, drawn[:, -2])
        columns = self._interpolation(images.shape[3], s, drawn[:, -1])
        return rows @ grids @ columns.transpose(1, 2)

    def _interpolation(
        self, pixels: Any, s: int, place: Float[Tensor, " m"]
    ) -> Float[Tensor, "m H s"]:
        """How much each cell counts at each pixel: the bilinear weights,
        with the grid shifted by up to a cell."""
        cell = -(-pixels // s)
        shift = (place * cell).floor()
        pixel = torch.arange(pixels, device=place.device, dtype=place.dtype) + 0.5
        at = (pixel + shift[:, None]) * (s / ((s + 1) * cell)) - 0.5
        if self.preset == "official" and s > 1:
            at = (s - 1) - ((s - 1) - at.abs()).abs()
        at = at.clamp(0, s - 1)
        return (
            1 - (at[:, :, None] - torch.arange(s, device=place.device, dtype=place.dtype)).abs()
        ).relu()

    def _numbers(self) -> tuple[int, int, float]:
        samples, cells, p = PRESETS[self.preset]
        return (
            samples if self.samples is None else self.samples,
            cells if self.cells is None else self.cells,
            p if self.probability is None else self.probability,
        )


def _relative_error(means: Float[Tensor, "2 b H W"], samples: int) -> Float[Tensor, " b"]:
    variance = (means[1] - means[0] ** 2).relu().sum((1, 2)) / samples
    norm = means[0].flatten(1).norm(dim=1)
    return variance.sqrt() / torch.where(norm > 0, norm, math.inf)
