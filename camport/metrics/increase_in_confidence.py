"""Increase in confidence."""

from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from camport.core.case import Case
from camport.core.metric import Metric
from camport.metrics.masked import masked


class IncreaseInConfidence(Metric):
    r"""Increase in confidence: 1 where the probability grows as the image is seen through its
    heatmap, else 0.

    .. math:: \mathbb{1}[Y < O], \quad Y = p^c(x),\ O = p^c(L \odot x)

    Chattopadhay et al. 2018 (Grad-CAM++), arXiv 1710.11063, section 5.1.

    Range: 0 or 1, higher is better.
    Cost: as `AverageDrop`, and shared with it.
    """

    name: ClassVar[str] = "increase_in_confidence"
    title: ClassVar[str] = "Increase in confidence"
    paper: ClassVar[str] = "1710.11063"
    needs: ClassVar[frozenset[str]] = frozenset({"model"})
    scale_free: ClassVar[bool] = False

    def measure(self, case: Case) -> Float[Tensor, " b"]:
        """1[Y < O]."""
        case.check(self)
        clean, seen = masked(case)
        return (clean < seen).to(clean.dtype)
