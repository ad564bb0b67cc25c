"""Figures of merit for heatmaps, one a file; registered through the same hook as everybody else's.

The package is also the function `camport.metrics()`, which lists all that are registered, as
`camport.adapters` is.
"""

import sys
from types import ModuleType

from camport.core.infos import MetricInfo
from camport.core.markers import hookimpl
from camport.core.metric import Metric
from camport.core.registry import metrics as _registered
from camport.metrics.average_drop import AverageDrop
from camport.metrics.average_gain import AverageGain
from camport.metrics.completeness import Completeness
from camport.metrics.deletion import Deletion
from camport.metrics.energy import EnergyInRegion
from camport.metrics.entropy import Entropy
from camport.metrics.increase_in_confidence import IncreaseInConfidence
from camport.metrics.infidelity import Infidelity
from camport.metrics.insertion import Insertion
from camport.metrics.insertion_deletion import InsertionDeletion
from camport.metrics.max_sensitivity import MaxSensitivity
from camport.metrics.pointing import PointingGame
from camport.metrics.regions import region_of_boxes, region_of_coco
from camport.metrics.road import ROAD
from camport.metrics.road_lerf import ROADLeastRelevantFirst
from camport.metrics.road_morf import ROADMostRelevantFirst
from camport.metrics.running import Running
from camport.metrics.sanity import Sanity, compare_models, sanity_check
from camport.metrics.sparsity import Sparsity

__all__ = [
    "ROAD",
    "AverageDrop",
    "AverageGain",
    "Completeness",
    "Deletion",
    "EnergyInRegion",
    "Entropy",
    "IncreaseInConfidence",
    "Infidelity",
    "Insertion",
    "InsertionDeletion",
    "MaxSensitivity",
    "PointingGame",
    "ROADLeastRelevantFirst",
    "ROADMostRelevantFirst",
    "Running",
    "Sanity",
    "Sparsity",
    "compare_models",
    "region_of_boxes",
    "region_of_coco",
    "sanity_check",
]


@hookimpl
def camport_metrics() -> list[type[Metric]]:
    """All of them."""
    return [
        PointingGame,
        EnergyInRegion,
        Insertion,
        Deletion,
        InsertionDeletion,
        ROAD,
        ROADMostRelevantFirst,
        ROADLeastRelevantFirst,
        AverageDrop,
        IncreaseInConfidence,
        AverageGain,
        MaxSensitivity,
        Infidelity,
        Completeness,
        Sparsity,
        Entropy,
    ]


class _Callable(ModuleType):
    def __call__(self) -> dict[str, MetricInfo]:
        """All metrics by name, built in and from plugins."""
        return _registered()


sys.modules[__name__].__class__ = _Callable
