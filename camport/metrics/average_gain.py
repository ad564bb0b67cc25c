"""Average gain."""

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from camport.core.case import Case
from camport.core.metric import Metric
from camport.metrics.masked import masked


class AverageGain(Metric):
    r"""Average gain: the share of what the probability lacks that it gains where the image is seen
    through its heatmap.

    .. math:: \frac{\max(0, O - Y)}{1 - Y}, \quad Y = p^c(x),\ O = p^c(L \odot x)

    Zhang et al. 2023 (Opti-CAM), arXiv 2301.07002, section 4, the counterpart of average drop; 0
    where Y is 1.

    Range: [0,1] for probabilities, higher is better.
    Cost: as `AverageDrop`, and shared with it.
    """

    name: ClassVar[str] = "average_gain"
    title: ClassVar[str] = "Average gain"
    paper: ClassVar[str] = "2301.07002"
    needs: ClassVar[frozenset[str]] = frozenset({"model"})
    scale_free: ClassVar[bool] = False

    def measure(self, case: Case) -> Float[Tensor, " b"]:
        """max(0, O - Y) / (1 - Y)."""
        case.check(self)
        clean, seen = masked(case)
        return (seen - clean).relu() / torch.where(clean < 1, 1 - clean, 1)
