"""Entropy."""

import math
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from camport.core.metric import Metric


class Entropy(Metric):
    r"""Entropy of the heatmap, taken as a distribution over pixels: its complexity.

    .. math:: -\sum_i p_i \ln p_i, \quad p_i = |v_i| / \sum_j |v_j|

    Bhatt et al. 2020, arXiv 2005.00631, section 3.3. 0 where one pixel has all, ln(HW) for a flat
    map.

    Range: [0, ln HW], lower is better: a map that is easier to grasp. It says nothing of its being
    right.
    """

    name: ClassVar[str] = "entropy"
    title: ClassVar[str] = "Entropy"
    paper: ClassVar[str] = "2005.00631"
    needs: ClassVar[frozenset[str]] = frozenset()
    better: ClassVar[Literal["higher", "lower"]] = "lower"
    range: ClassVar[tuple[float, float]] = (0.0, math.inf)
    unit: ClassVar[str] = "nat"

    def __call__(self, heatmap: Float[Tensor, "b H W"], region: Any = None) -> Float[Tensor, " b"]:
        """The entropy of each heatmap."""
        values = heatmap.abs().flatten(1).double()
        total = values.sum(1, keepdim=True)
        p = torch.where(total > 0, values / torch.where(total > 0, total, 1), 1 / values.shape[1])
        return torch.special.entr(p).sum(1)
