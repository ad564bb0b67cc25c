"""Infidelity."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from camport.core.case import Case
from camport.core.maps.baseline import baseline, check_baseline, check_fits
from camport.core.maps.noise import uniform
from camport.core.metric import Metric
from camport.errors import InputError


@dataclass(frozen=True)
class Infidelity(Metric):
    r"""Infidelity: how far the map is from predicting what the score loses as a square of the image
    is taken away.

    .. math:: \mathbb{E}_I\big[(\beta\, I^T \Phi - (y(x) - y(x_I)))^2\big], \quad
              \beta = \frac{\mathbb{E}[I^T\Phi\,(y(x) - y(x_I))]}{\mathbb{E}[(I^T\Phi)^2]}

    with I in {0,1} a square of random size and place, x_I the image with the baseline there, Phi
    the method's raw map laid on the image. Yeh et al. 2019, arXiv 1901.09392, definition 1, with
    the square removal and the scaling of section 5: a heatmap has no unit, and beta gives it the
    best one. `scaled=False` is for maps whose values are parts of the score, as those of integrated
    gradients, and takes beta = 1.

    Range: [0, inf), lower is better; divided by the mean of (y(x) - y(x_I))^2, the share that the
    map leaves unexplained, with `relative=True`: then [0,1] where it is scaled, 1 for a map that
    predicts nothing.
    Cost: `samples` forward passes.

    Args:
        samples: how many squares.
        largest: their largest side, as a share of the shorter side of the image.
        baseline: what is there instead: a value, one a channel, "blurred" or "mean".
        scaled: beta is fitted; else 1.
        relative: over the mean square of what the score loses.
        seed: chooses the squares.
    """

    name: ClassVar[str] = "infidelity"
    title: ClassVar[str] = "Infidelity"
    paper: ClassVar[str] = "1901.09392"
    needs: ClassVar[frozenset[str]] = frozenset({"model"})
    better: ClassVar[Literal["higher", "lower"]] = "lower"
    range: ClassVar[tuple[float, float]] = (0.0, math.inf)

    samples: int = 100
    largest: float = 0.5
    baseline: float | tuple[float, ...] | Literal["blurred", "mean"] = 0.0
    scaled: bool = True
    relative: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if self.samples < 1 or not 0 < self.largest <= 1:
            raise InputError(
                f"{self.samples} squares of up to {self.largest} of the image; wanted 1 or more,"
                " (0,1]"
            )
        check_baseline(self.baseline, "baseline")

    def measure(self, case: Case) -> Float[Tensor, " b"]:
        """The mean square of what the map does not predict."""
        case.check(self)
        check_fits(self.baseline, case.images, "baseline")
        blank, images = baseline(self.baseline, case.images), case.images

        def without(numbers: Tensor) -> Tensor:
            return torch.where(self.squares(numbers, images)[:, None, None] > 0, blank, images)

        lost = (case.scores.y - case.scores.each(self.samples, without, probability=False)).double()
        numbers = torch.arange(self.samples, device=images.device)
        squares = self.squares(numbers, images).double().flatten(1)
        named = squares @ case.laid().double().flatten(1).T
        power = (named**2).mean(0)
        beta = (named * lost).mean(0) / torch.where(power > 0, power, 1) if self.scaled else 1.0
        found = ((beta * named - lost) ** 2).mean(0)
        total = (lost**2).mean(0)
        return found / torch.where(total > 0, total, 1) if self.relative else found

    def squares(
        self, numbers: Int[Tensor, " m"], images: Float[Tensor, "b c H W"]
    ) -> Float[Tensor, "m H W"]:
        """1 in the square of each number, 0 elsewhere; the same for each image."""
        h, w = images.shape[2:]
        side, top, left = uniform(self.seed, numbers, 3).double().T[:, :, None]
        side = 1 + (side * max(1, round(self.largest * min(h, w)))).floor()
        top, left = (top * (h - side + 1)).floor(), (left * (w - side + 1)).floor()
        y, x = (torch.arange(n, device=images.device) for n in (h, w))
        rows, columns = (y >= top) & (y < top + side), (x >= left) & (x < left + side)
        return (rows[:, :, None] & columns[:, None]).to(images.dtype)
