"""How much the maps of a fixed batch change while a network is trained."""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from camport.core.bound import Bound
from camport.errors import FlatMapWarning, InputError, silenced
from camport.metrics.similarity import ranks

Similarity = Literal["spearman", "cosine"]


class ExplanationDrift:
    r"""The change of the maps of a fixed batch since the last look:
    a callback for the end of each epoch.

    .. math:: d_t = \frac{1}{b} \sum_i 1 - s(M_i^t, M_i^{t-1})

    with M_i^t the method's own map of image i at look t, and s the rank correlation of Spearman,
    ties sharing their mean rank, or the cosine. It falls where training converges; where it does
    not while the loss does, maps are not to be read yet. A map without contrast is like another
    without contrast (s = 1), and unlike any other (s = 0).

    Call it at the end of an epoch; the model is explained in evaluation mode and left as it is.

    Args:
        bound: a method bound to the network that is trained.
        images: the batch [b,c,H,W], as the model wants it; kept.
        target: what to explain, as in a call of `bound`. The default, the top class of each image,
            changes while the network learns: give the labels, so that maps of one class are
            compared.
        similarity: "spearman" or "cosine".

    Attributes:
        drifts: what each look but the first found, of each image: [b] float64.
    """

    def __init__(
        self, bound: Bound, images: Tensor, target: Any = None, similarity: Similarity = "spearman"
    ) -> None:
        if similarity not in get_args(Similarity):
            raise InputError(
                f"similarity is {similarity!r}; it is one of {', '.join(get_args(Similarity))}"
            )
        self.bound, self.images, self.target, self.similarity = bound, images, target, similarity
        self.drifts: list[Tensor] = []
        self._last: Tensor | None = None

    def __call__(self) -> float | None:
        """Looks: the mean drift since the last look, None at the first.

        Raises:
            CamportError: whatever the bound method raises.
        """
        with torch.autocast(self.images.device.type, enabled=False), silenced(FlatMapWarning):
            # a map that becomes flat is a change, and counted as such
            maps = self.bound(self.images, self.target).raw.detach().double().cpu()
        last, self._last = self._last, maps
        if last is None:
            return None
        self.drifts.append(1 - similarity(maps, last, self.similarity))
        return float(self.drifts[-1].mean())

    @property
    def means(self) -> list[float]:
        """The mean drift of each look but the first: what a curve shows."""
        return [float(drift.mean()) for drift in self.drifts]


def similarity(
    one: Float[Tensor, "b h w"], other: Float[Tensor, "b h w"], kind: Similarity
) -> Float[Tensor, " b"]:
    """Spearman's rank correlation or the cosine; 1 of two flat maps, 0 of a flat one and another.

    Flat is a map of one value; for the cosine it is the map 0, since a constant has a direction.
    """
    a, b = one.flatten(1), other.flatten(1)
    if kind == "spearman":
        a, b = (centred(ranks(values)) for values in (a, b))
    both_flat = ~(a.any(1) | b.any(1))
    return torch.where(both_flat, 1.0, F.cosine_similarity(a, b))  # 0 where one of them is 0


def centred(values: Float[Tensor, "b n"]) -> Float[Tensor, "b n"]:
    """Each row less its mean."""
    return values - values.mean(1, keepdim=True)
