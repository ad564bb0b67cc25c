"""Padding."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from camport.errors import ModelError
from camport.models.onnx.registry import operator
from camport.models.onnx.small import Ints, ints, number, optional_ints

_TORCH_MODES = {"reflect": "reflect", "edge": "replicate", "wrap": "circular"}


@operator("Pad", static=("pads", "constant_value", "axes"))
def pad(
    x: Tensor,
    pads: Ints,
    constant_value: Any = None,
    axes: Ints | None = None,
    *,
    mode: str = "constant",
    value: float = 0.0,
) -> Tensor:
    """x with a border of a constant, of its mirror image, of its edge or of its other end;
    negative pads crop."""
    amounts = ints(pads)
    where = optional_ints(axes)
    where = list(range(x.dim())) if where is None else [a % x.dim() for a in where]
    before, after = [0] * x.dim(), [0] * x.dim()
    for i, axis in enumerate(where):
        before[axis], after[axis] = amounts[i], amounts[i + len(where)]
    if mode == "constant":
        flat = [n for pair in zip(reversed(before), reversed(after), strict=True) for n in pair]
        while len(flat) > 2 and flat[-2:] == [0, 0]:
            flat = flat[:-2]
        return F.pad(x, flat, value=number(constant_value, value))
    if mode not in _TORCH_MODES:
        raise ModelError(f"Pad in mode {mode!r} is not imported")
    spatial = not any(before[:2] + after[:2]) and min(before + after) >= 0
    if spatial and 3 <= x.dim() <= 5 and mode != "wrap":
        flat = [
            n for pair in zip(reversed(before[2:]), reversed(after[2:]), strict=True) for n in pair
        ]
        return F.pad(x, flat, mode=_TORCH_MODES[mode])
    for axis in range(x.dim()):
        if before[axis] or after[axis]:
            index = _places(x.shape[axis], before[axis], after[axis], mode, x.device)
            x = x.index_select(axis, index)
    return x


def _places(size: Any, before: int, after: int, mode: str, device: torch.device) -> Tensor:
    """For every place in the padded axis the place in x that it shows."""
    place = torch.arange(-before, size + after, device=device)
    if mode == "edge":
        return place.clamp(0, size - 1)
    if mode == "wrap":
        return torch.remainder(place, size)
    period = max(2 * (size - 1), 1)
    folded = torch.remainder(place, period)
    return torch.minimum(folded, period - folded)
