"""Of which places of the image a tensor is made, and calls of functions that are followed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from camport.core.maps.movers import MATRICES, MOVING, SCATTERING
from camport.core.maps.places import Places


@dataclass(frozen=True)
class Origins:
    """Of which places of the image a tensor is made.

    Attributes:
        standard: of maps that cover the image as it is.
        moved: of others.
        unknown: of some that could not be followed.
        by: names of the functions that moved them.
        asked: those that were moved are what an attention asks with, and its values may be of other
            places.
        spectral: of frequencies, which lie nowhere.
    """

    standard: bool = False
    moved: tuple[Places, ...] = ()
    unknown: bool = False
    by: tuple[str, ...] = ()
    asked: bool = False
    spectral: bool = False

    @property
    def as_it_is(self) -> bool:
        """Whether nothing was moved."""
        return not (self.moved or self.unknown or self.spectral)

    def each(self, shape: Sequence[int]) -> list[Places]:
        """All that are known, for a tensor of `shape`."""
        return [*([Places.of_map(shape)] if self.standard else []), *self.moved]

    def stretched(self) -> Origins:
        """The same, as if they reached from one end of the image to the other."""
        return replace(self, moved=tuple(p.stretched() for p in self.moved))


Taken = list[tuple[Tensor, Origins, tuple[int, ...]]]
"""Tensors whose places are known, with these and their shapes."""


@dataclass(frozen=True)
class Call:
    """One call of a function.

    Attributes:
        name: of the function.
        func: itself.
        args: its arguments.
        kwargs: those given by name.
        taken: the arguments that are followed.
    """

    name: str
    func: Any
    args: Any
    kwargs: Mapping[str, Any]
    taken: Taken

    @property
    def moves(self) -> bool:
        """Whether it moves values about, or adds up those of any place."""
        return self.name in MOVING or self.name in SCATTERING or self.name in MATRICES

    @property
    def scatters(self) -> bool:
        """Whether it is one that is not followed."""
        return self.name in SCATTERING or self.name.startswith("fft_")
