"""Resampling as a matrix an axis: whatever the coordinates and the filter,
each output is a sum of inputs."""

from typing import Any

import torch
from torch import Tensor

from camport.errors import ModelError


def source_coordinates(
    n_out: Any, n_in: Any, scale: float, mode: str, device: torch.device
) -> Tensor:
    """Where on the input axis each place of the output axis lies, in float64."""
    place = torch.arange(n_out, dtype=torch.float64, device=device)
    if mode == "asymmetric":
        return place / scale
    if mode == "align_corners":
        return place * ((n_in - 1) / max(n_out - 1, 1))
    if mode == "pytorch_half_pixel" and n_out == 1:
        return place * 0
    if mode in ("half_pixel", "pytorch_half_pixel"):
        return (place + 0.5) / scale - 0.5
    if mode == "half_pixel_symmetric":
        centre = n_in / 2
        adjusted = n_out / (n_in * scale)
        return centre * (1 - adjusted) + (place + 0.5) / scale - 0.5
    raise ModelError(f"Resize with coordinates {mode!r} is not imported")


def nearest_places(x: Tensor, rounding: str, n_in: Any) -> Tensor:
    """The nearest input place of each coordinate."""
    if rounding == "floor":
        place = x.floor()
    elif rounding == "ceil":
        place = x.ceil()
    elif rounding == "round_prefer_floor":
        place = (x - 0.5).ceil()
    elif rounding == "round_prefer_ceil":
        place = (x + 0.5).floor()
    else:
        raise ModelError(f"Resize with nearest mode {rounding!r} is not imported")
    return place.clamp(0, n_in - 1).long()


def filter_matrix(
    x: Tensor,
    n_in: Any,
    scale: float,
    mode: str,
    cubic: float,
    antialias: bool,
    exclude_outside: bool,
) -> Tensor:
    """[out, in]: the weight of each input place in each output place, in float64.

    Outside the input its edge goes on: weights that fall there are added to the edge's.
    """
    stretch = max(1.0, 1 / scale) if antialias else 1.0
    reach = (1 if mode == "linear" else 2) * stretch
    taps = int(2 * reach) + 3
    first = (x - reach).floor()
    places = first[:, None] + torch.arange(taps, dtype=x.dtype, device=x.device)
    weights = _filter((places - x[:, None]).abs() / stretch, mode, cubic)
    outside = (places < 0) | (places > n_in - 1)
    if exclude_outside:
        weights = torch.where(outside, torch.zeros_like(weights), weights)
    if exclude_outside or antialias:
        weights = weights / weights.sum(1, keepdim=True)
    inputs = torch.arange(n_in, dtype=x.dtype, device=x.device)
    hits = places.clamp(0, n_in - 1)[:, :, None] == inputs
    return (weights[:, :, None] * hits).sum(1)


def _filter(distance: Tensor, mode: str, a: float) -> Tensor:
    if mode == "linear":
        return (1 - distance).clamp(min=0)
    near = ((a + 2) * distance - (a + 3)) * distance * distance + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return torch.where(
        distance <= 1, near, torch.where(distance < 2, far, torch.zeros_like(distance))
    )
