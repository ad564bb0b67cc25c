"""What the network saw of a picture: a thin frame around it and one line that says so, where the
preprocessing crops."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from camport.view.boxes import Box

Seen: TypeAlias = tuple[float, float, float, float] | None
"""xyxy in the picture's pixels; None: all of it."""
NOTE = "framed: what the network saw; the preprocessing crops the rest"


def frame(seen: Seen) -> list[Box]:
    """The frame as boxes of a figure's cell: one, or none where the network saw all."""
    return [] if seen is None else [Box(seen, colour="white", line=1)]


def note(pictures: Iterable[Seen]) -> str:
    """The line under a figure of these pictures; nothing where none of them is framed."""
    return NOTE if any(seen is not None for seen in pictures) else ""
