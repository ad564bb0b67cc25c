"""The smallest and the largest score among the variants of an image:
whether a map of them tells anything."""

from __future__ import annotations

import torch
from torch import Tensor

from camport.core.maps.loop import traced
from camport.core.running.derivative import wide

ROUNDINGS = 8
"""Scores that differ by so many units in the last place at most tell nothing."""


class Extremes:
    """Of all the scores that a method has asked for; looked at where they are needed,
    and not before.

    Attributes:
        dtype: in which the model gave the scores.
    """

    def __init__(self) -> None:
        self.dtype = torch.float32
        self._noted: list[Tensor] = []

    def note(self, y: Tensor, dtype: torch.dtype) -> Tensor:
        """Takes down the scores [m,b] of m variants of each image,
        and hands them back in float32 or wider.

        Args:
            y: the scores.
            dtype: in which the model gave them.
        """
        y = wide(y)
        if not traced():
            self.dtype = dtype
            self._noted.append(torch.stack([y.detach().amin(0), y.detach().amax(0)]))
        return y

    @property
    def finite(self) -> bool:
        """Whether all of them are."""
        return all(bool(extremes.isfinite().all()) for extremes in self._noted)

    def rounded(self) -> list[int]:
        """Images whose variants' scores differ, and by a few units in the last place at most."""
        if not self._noted:
            return []
        both = torch.stack(self._noted)
        low, high = both[:, 0].amin(0), both[:, 1].amax(0)
        unit = torch.finfo(self.dtype).eps * torch.maximum(low.abs(), high.abs()).double()
        spread = high.double() - low.double()
        return [
            int(image) for image in ((spread > 0) & (spread <= ROUNDINGS * unit)).nonzero()[:, 0]
        ]
