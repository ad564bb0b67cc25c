"""Scores of classes, as products instead of indexing: their gradients export as plain products."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from camport.adapters.reading import one_hot
from camport.core.maps.ruled_out import weighed


def logarithm(p: Tensor) -> Tensor:
    """log p, finite where p is 0."""
    return p.clamp_min(torch.finfo(p.dtype).tiny).log()


def similar(z: Float[Tensor, "b k"], classes: Tensor, nearest: int | None) -> Tensor:
    """The runner-up [b,1] of each image, or the classes [b,m] whose logits are nearest to that of
    `classes`."""
    own = one_hot(classes, z)
    likeness = z if nearest is None else -(z - weighed(z, own).sum(1, keepdim=True)).abs()
    found: list[Tensor] = []
    for _ in range(min(nearest or 1, z.shape[1] - 1)):
        taken = sum((one_hot(c, z) for c in found), own)
        found.append(torch.where(taken > 0, torch.full_like(z, -torch.inf), likeness).argmax(1))
    return torch.stack(found, 1)
