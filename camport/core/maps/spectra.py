"""Fourier transforms: what they make of an image are frequencies, which lie nowhere on it,
until one inverts them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_SHIFTS = ("fft_fftshift", "fft_ifftshift")


def inverts(name: str) -> bool:
    """Whether the function takes frequencies and gives what they are the transform of."""
    return name.startswith(("fft_ifft", "fft_irfft", "fft_hfft")) and name not in _SHIFTS


def transforms(name: str, args: Any, kwargs: Mapping[str, Any]) -> bool:
    """Whether the function gives frequencies of the last two axes of its argument,
    in part or of both.

    One along the channels leaves each place where it is.
    """
    if not name.startswith("fft_") or inverts(name) or name in _SHIFTS:
        return False
    two = "2" in name
    axes = kwargs.get(
        "dim", args[2] if len(args) > 2 else (-2, -1) if two else None if name.endswith("n") else -1
    )
    if axes is None:
        return True
    n = args[0].dim() if args else kwargs["input"].dim()
    return n != 4 or any(axis % n >= 2 for axis in ([axes] if isinstance(axes, int) else axes))
