"""What every detector says, whatever its form: candidates,
each with a box and a number for every class."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from camport.core.maps.loop import traced
from camport.core.maps.ruled_out import weighed

SMALLEST, NEAREST_TO_ONE = 1e-30, 2.0**-24
"""Where logarithms of probabilities are cut off."""


Part = Tensor | Callable[[], Tensor]
"""A tensor, or the function that computes it once it is asked for:
a score's graph then holds what that score needs."""


class Candidates:
    """All candidates of a batch, before anything is suppressed.

    Attributes:
        labels: [b,n], the class of each candidate where the detector names but one; k is 1 then.
        background: the class that means "no object"; None where there is none.
    """

    def __init__(
        self,
        boxes: Part,
        logits: Part,
        probability: Part,
        objectness: Part | None = None,
        labels: Int[Tensor, "b n"] | None = None,
        background: int | None = None,
        certainty: Part | None = None,
    ) -> None:
        self._boxes, self._logits, self._probability, self._objectness = (
            boxes,
            logits,
            probability,
            objectness,
        )
        self.labels, self.background, self._certainty = labels, background, certainty

    @cached_property
    def boxes(self) -> Float[Tensor, "b n 4"]:
        """(left, top, right, bottom) in pixels of the images."""
        return _computed(self._boxes)

    @cached_property
    def logits(self) -> Float[Tensor, "b n k"]:
        """The class scores before the logistic function or the softmax."""
        return _computed(self._logits)

    @cached_property
    def probability(self) -> Float[Tensor, "b n k"]:
        """In [0,1], of each class; 0 in the background's column."""
        found = _computed(self._probability)
        if self.background is None:
            return found
        column = (
            torch.arange(found.shape[2], device=found.device) != self.background % found.shape[2]
        )
        return found * column.to(found.dtype)

    @cached_property
    def certainty(self) -> Float[Tensor, "b n"] | None:
        """What every probability is multiplied by to give the confidence that the detector reports,
        in [0,1]; None where that is the probability itself.
        """
        return None if self._certainty is None else _computed(self._certainty)

    @cached_property
    def objectness(self) -> Float[Tensor, "b n"] | None:
        """The logit of there being any object; None for detectors without."""
        return None if self._objectness is None else _computed(self._objectness)

    def best(self) -> tuple[Float[Tensor, "b n"], Int[Tensor, "b n"]]:
        """Each candidate's largest confidence, and the class that it has it in."""
        found, classes = self.probability.max(2)
        return self._confidence(found), classes if self.labels is None else self.labels

    def confident(self, classes: Int[Tensor, " r"]) -> Float[Tensor, "r n"]:
        """Each candidate's confidence in the class of each row; of -1, in its best class."""
        best = self.probability.amax(2)
        if self.labels is not None:
            named = best * (self.labels == classes[:, None]).to(best.dtype)
        else:
            wanted = one_hot(classes, self.probability.shape[2]).to(best.dtype)
            named = torch.matmul(self.probability, wanted[:, :, None])[..., 0]
        return self._confidence(torch.where((classes < 0)[:, None], best, named))

    def confidence_of(
        self, index: Int[Tensor, " r"], classes: Int[Tensor, " r"]
    ) -> Float[Tensor, " r"]:
        """The confidence of the candidate `index` of each row in the row's class."""
        row = picked(self.probability, index)
        if self.labels is not None:
            found = row[:, 0] * (self.best_class(index) == classes).to(row.dtype)
        else:
            found = (row * one_hot(classes, row.shape[1]).to(row.dtype)).sum(1)
        return (
            found
            if self.certainty is None
            else found * picked(self.certainty[:, :, None], index)[:, 0]
        )

    def best_class(self, index: Int[Tensor, " r"]) -> Int[Tensor, " r"]:
        """The class of the candidate `index` of each row."""
        if self.labels is not None:
            return self.labels.expand(index.shape[0], -1).gather(1, index[:, None])[:, 0]
        return picked(self.probability, index).argmax(1)

    def _confidence(self, probability: Float[Tensor, "r n"]) -> Float[Tensor, "r n"]:
        return probability if self.certainty is None else probability * self.certainty

    def logit(self, index: Int[Tensor, " r"], classes: Int[Tensor, " r"]) -> Float[Tensor, " r"]:
        """The class logit of the candidate `index` of each row, differentiable."""
        row = picked(self.logits, index)
        if self.labels is not None:
            return row[:, 0]
        return weighed(row, one_hot(classes, row.shape[1]).to(row.dtype)).sum(1)


def _computed(part: Part) -> Tensor:
    return part if isinstance(part, Tensor) else part()


def one_hot(classes: Int[Tensor, " r"], size: int) -> Tensor:
    """bool [r,size], 1 where the column is the row's class."""
    return torch.arange(size, device=classes.device)[None] == classes[:, None]


def picked(values: Float[Tensor, "b n c"], index: Int[Tensor, " r"]) -> Float[Tensor, "r c"]:
    """`values` of one candidate a row; one image may serve all rows. In a graph a product with a
    one-hot, whose gradient exports; candidates that are not picked must be finite there.
    """
    if not traced():
        return values[torch.arange(values.shape[0], device=index.device), index]
    chosen = one_hot(index, values.shape[1]).to(values.dtype)
    return torch.matmul(chosen[:, None], values)[:, 0]


def inverse_sigmoid(p: Tensor) -> Tensor:
    """log p - log(1 - p), finite for every p in [0,1],
    with its true gradient wherever p is neither 0 nor 1."""
    return p.clamp_min(SMALLEST).log() - (1 - p).clamp_min(NEAREST_TO_ONE).log()
