"""Whether a model mixes the images of a batch,
so that what it says of one depends on those beside it.

Batch statistics in evaluation mode, a mean or an order over the batch, and attention along its axis
do. Such a model is run on one image at a time. Gradients are wrong otherwise as well: other images'
scores depend on this one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from camport.core.isolation.random_state import numbers_drawn, random_state_kept
from camport.core.maps.loop import traced
from camport.core.running.call_model import called
from camport.core.running.dependence import another
from camport.core.running.derivative import wide
from camport.errors import CamportError

if TYPE_CHECKING:
    from camport.core.probe import Probe

Score = Callable[[Tensor, Tensor], Tensor]
"""The scores [n] of images [n,c,H,W] for the rows [n] of the target that are named."""

ROUNDINGS = 16
"""Differences up to so many units in the last place, of the largest score,
are not looked at further."""

SAME = 1024
"""Up to so many, batches of one size and one order of operations differ,
on a device that adds in any order."""


class Mixed(Exception):
    """Several images were run at once, of a model that takes each for itself alone;
    what it says is why."""

    def __init__(
        self, why: str = "mixes the images of a batch: what it says of one depends on the others"
    ) -> None:
        super().__init__(why)


@dataclass
class Mixing:
    """What is known of a bound model.

    Attributes:
        found: whether it mixes the images of a batch; None as long as no two have met.
        alone: likewise, as one image has told it.
    """

    found: bool | None = None
    alone: bool | None = None

    def of_batch(self, score: Score, images: Tensor, y: Tensor) -> bool:
        """Whether the model mixes, from the scores y [b] of b > 1 images in one batch;
        two passes on one image.

        The first image has none before it, the last none behind it, and of their ranks only one is
        the lowest.
        """
        if self.found is None and not self.alone:
            self._look(score, images, y)
        return bool(self.found or self.alone)

    def of_image(self, score: Score, image: Tensor, y: Tensor) -> bool:
        """Whether the model mixes, from the score y [1] of one image [1,c,H,W];
        a pass on it among others."""
        if self.found is None and self.alone is None:
            low, high = _extremes(image)
            # darker and lighter ones, before it and behind it, for models that rank
            images = torch.cat([low, another(image), image, high])
            rows = torch.zeros(4, dtype=torch.long, device=image.device)
            try:
                with torch.no_grad(), random_state_kept(image.device):
                    among = score(images.clone(), rows)
            except CamportError:  # a graph with a number of images built in
                self.alone = False
                return False
            self.alone = _differ(among[2], y[0], y, ROUNDINGS) and _confirmed(
                score, images, rows, 2
            )
        return bool(self.found or self.alone)

    def _look(self, score: Score, images: Tensor, y: Tensor) -> None:
        rows = torch.arange(images.shape[0], device=images.device)
        for i in (0, images.shape[0] - 1):
            if bool((images == images[i]).all()):
                return  # beside copies of itself an image tells nothing
            try:
                with torch.no_grad(), random_state_kept(images.device):
                    alone = score(images[i : i + 1].clone(), rows[i : i + 1])
            except CamportError:
                self.found = False
                return
            if _differ(alone[0], y[i], y, ROUNDINGS) and _confirmed(score, images, rows, i):
                self.found = True
                return
        self.found = False


def mixes(probe: Probe, alone: bool = False) -> bool:
    """Whether several images were run, and the model mixes the images of a batch;
    never while a graph is traced.

    Args:
        probe: of the images; it keeps what is found in `probe.mixing`.
        alone: asked though there is one image, since variants of it are to be run at once.
    """
    images = probe.evaluation.images
    several = images.shape[0] > 1
    if traced() or not (several or alone):
        return False
    y = probe.y[: images.shape[0]]

    def score(images: Tensor, at: Tensor) -> Tensor:
        target = {name: value[at] for name, value in probe.target.items()}
        return wide(
            probe.adapter.score(called(probe.adapter, probe.double, images, target), target)
        )

    return (
        probe.mixing.of_batch(score, images, y)
        if several
        else probe.mixing.of_image(score, images, y)
    )


def _confirmed(score: Score, images: Tensor, rows: Tensor, i: int) -> bool:
    """Whether image i has another score beside others,
    in batches of one size and from one random state.

    Then neither the kernels that a device takes for a number of images nor dropout is the reason;
    and a model that says something else each time is told by its saying so.
    """
    image, of_one = images[i : i + 1], rows[i : i + 1].expand_as(rows)

    def told(others: Tensor, at: Tensor) -> tuple[Tensor, list[Tensor]]:
        batch = others.expand_as(images).clone()
        batch[i] = image[0]
        with torch.no_grad(), random_state_kept(images.device):
            return score(batch, at), numbers_drawn()

    (first, numbers), (again, _) = told(images, rows), told(images, rows)
    if _differ(first[i], again[i], first, SAME):
        return False
    for others in (image, *_extremes(image)):
        among, drawn = told(others, of_one)
        # others may draw more of the numbers, so that this image has others (rrelu)
        alike = all(torch.equal(a, b) for a, b in zip(numbers, drawn, strict=True))
        if alike and _differ(first[i], among[i], first, SAME):
            return True
    return False


def _extremes(image: Tensor) -> tuple[Tensor, Tensor]:
    """Images [1,c,H,W] of a smaller and a larger value than each channel has,
    for models that take the least of all."""
    low, high = image.amin((2, 3), True), image.amax((2, 3), True)
    beyond = (high - low) / 2 + (high == low)
    return (low - beyond).expand_as(image), (high + beyond).expand_as(image)


def _differ(a: Tensor, b: Tensor, scale: Tensor, units: int) -> bool:
    largest = scale.detach().abs().amax().nan_to_num()
    return bool((a - b).abs() > units * torch.finfo(a.dtype).eps * largest)
