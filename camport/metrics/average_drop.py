"""Average drop."""

from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from camport.core.case import Case
from camport.core.metric import Metric
from camport.metrics.masked import masked


class AverageDrop(Metric):
    r"""Average drop: the share of the probability that is lost where the image is seen through its
    heatmap.

    .. math:: \frac{\max(0, Y - O)}{Y}, \quad Y = p^c(x),\ O = p^c(L \odot x)

    Chattopadhay et al. 2018 (Grad-CAM++), arXiv 1710.11063, section 5.1, which has it in percent
    and the mean over images. The class is that of the image; 0 where Y is 0.

    Range: [0,1], lower is better. The heatmap of ones, which explains nothing, has 0: read it
    beside a metric that rewards small maps.
    Cost: one forward pass for average drop, increase in confidence and average gain together.
    """

    name: ClassVar[str] = "average_drop"
    title: ClassVar[str] = "Average drop"
    paper: ClassVar[str] = "1710.11063"
    needs: ClassVar[frozenset[str]] = frozenset({"model"})
    better: ClassVar[Literal["higher", "lower"]] = "lower"
    scale_free: ClassVar[bool] = False

    def measure(self, case: Case) -> Float[Tensor, " b"]:
        """max(0, Y - O) / Y."""
        case.check(self)
        clean, seen = masked(case)
        return (clean - seen).relu() / torch.where(clean > 0, clean, 1)
