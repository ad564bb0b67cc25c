"""Figures of merit for heatmaps, one a file; registered through the same hook as everybody else's.

The package is also the function `camport.metrics()`, which lists all that are registered, as `camport.adapters` is.
"""

import sys
from types import ModuleType

from camport.core.markers import hookimpl
from camport.core.metric import Metric
from camport.core.registry import MetricInfo
from camport.core.registry import metrics as _registered
from camport.metrics.energy import EnergyInRegion
from camport.metrics.pointing import PointingGame

__all__ = ["EnergyInRegion", "PointingGame"]


@hookimpl
def camport_metrics() -> list[type[Metric]]:
    """All of them."""
    return [PointingGame, EnergyInRegion]


class _Callable(ModuleType):
    def __call__(self) -> dict[str, MetricInfo]:
        """All metrics by name, built in and from plugins."""
        return _registered()


sys.modules[__name__].__class__ = _Callable
