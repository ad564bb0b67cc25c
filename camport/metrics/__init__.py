"""Figures of merit for heatmaps where the truth is known; registered through the same hook as everybody else's."""

from camport.core.markers import hookimpl
from camport.core.metric import Metric
from camport.metrics.energy import EnergyInRegion
from camport.metrics.pointing import PointingGame

__all__ = ["EnergyInRegion", "PointingGame"]


@hookimpl
def camport_metrics() -> list[type[Metric]]:
    """All of them."""
    return [PointingGame, EnergyInRegion]
