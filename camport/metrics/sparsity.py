"""Sparsity."""

from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from camport.core.metric import Metric


class Sparsity(Metric):
    r"""Sparsity: the Gini index of the heatmap's values.

    .. math:: G = \frac{\sum_{k=1}^{n} (2k - n - 1)\, v_{(k)}}{n \sum_k v_{(k)}},
    \quad v_{(1)} \le \dots \le v_{(n)}

    of magnitudes. Hurley and Rickard 2009, arXiv 0811.4706, table I; of explanations Chalasani et
    al. 2020, arXiv 1810.06583, section 5. 0 for a flat map, 1 - 1/n where one pixel has all.

    Range: [0,1], higher is better: fewer pixels are named. It says nothing of their being the right
    ones.
    """

    name: ClassVar[str] = "sparsity"
    title: ClassVar[str] = "Sparsity"
    paper: ClassVar[str] = "1810.06583"
    needs: ClassVar[frozenset[str]] = frozenset()

    def __call__(self, heatmap: Float[Tensor, "b H W"], region: Any = None) -> Float[Tensor, " b"]:
        """The Gini index of each heatmap."""
        values = heatmap.abs().flatten(1).double().sort(1).values
        n, total = values.shape[1], values.sum(1)
        weights = 2 * torch.arange(1, n + 1, device=values.device, dtype=values.dtype) - n - 1
        return (values * weights).sum(1) / (n * torch.where(total > 0, total, 1))
