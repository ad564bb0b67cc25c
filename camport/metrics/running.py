"""A metric over a stream of batches, as torchmetrics has it: update, compute, reset."""

from typing import Any

import torch
from torch import Tensor

from camport.core.case import Case
from camport.core.metric import Metric
from camport.core.registry import metric as registered
from camport.errors import InputError


class Running:
    """The mean of a metric over all maps so far.

    ```python
    running = Running("pointing_game")
    for heatmap, region in batches:
        running.update(heatmap, region)
    running.compute()
    ```

    Args:
        metric: a name from `camport.metrics()`, a class, or an instance with its options.
    """

    def __init__(self, metric: str | type[Metric] | Metric) -> None:
        cls = registered(metric) if isinstance(metric, str) else metric
        self.metric = cls if isinstance(cls, Metric) else cls()
        self.higher_is_better = self.metric.better == "higher"
        self.reset()

    def __call__(self, *maps: Any) -> Tensor:
        """As `update`, and the mean over these maps alone."""
        self.update(*maps)
        return self._values[-1].mean()

    def update(self, *maps: Any) -> None:
        """Measures a `Case`, or heatmaps [b,H,W] and regions [b,H,W] where the metric needs no
        more."""
        one = len(maps) == 1 and isinstance(maps[0], Case)
        found = self.metric.measure(maps[0]) if one else self.metric(*maps)
        self._values.append(found.detach().double().cpu())

    def compute(self) -> Tensor:
        """The mean over all maps, a float64 scalar; InputError before the first."""
        if not self._values:
            raise InputError(f"{self.metric.name} has measured nothing yet; update it first")
        return torch.cat(self._values).mean()

    @property
    def values(self) -> Tensor:
        """The figure of each map, float64 [n]."""
        return torch.cat(self._values) if self._values else torch.empty(0, dtype=torch.float64)

    def reset(self) -> None:
        """Forgets all maps."""
        self._values: list[Tensor] = []
