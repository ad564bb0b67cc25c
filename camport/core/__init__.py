"""What the author of a method, an adapter or a metric imports; names arrive when they are first
used.

The rooms below: `running` is how a model is run, `isolation` how it stays as it was found, `maps`
the maths of maps.
"""

from typing import TYPE_CHECKING, Any

from camport.late import late, moved

if TYPE_CHECKING:
    from camport.core.adapter import Adapter as Adapter
    from camport.core.bound import Bound as Bound
    from camport.core.case import Case as Case
    from camport.core.explainer import Explainer as Explainer
    from camport.core.explanation import Explanation as Explanation
    from camport.core.maps.fusion import Fusion as Fusion
    from camport.core.maps.fusion import at_finest as at_finest
    from camport.core.maps.fusion import fuse as fuse
    from camport.core.maps.fusion import over_layers as over_layers
    from camport.core.maps.heatmap import minmax as minmax
    from camport.core.maps.heatmap import upsample as upsample
    from camport.core.maps.loop import repeat as repeat
    from camport.core.maps.loop import traced as traced
    from camport.core.maps.noise import normal as normal
    from camport.core.maps.noise import uniform as uniform
    from camport.core.maps.token_grid import Grid as Grid
    from camport.core.maps.token_grid import find_grid as find_grid
    from camport.core.metric import Metric as Metric
    from camport.core.model_family import ModelFamily as ModelFamily
    from camport.core.probe import Probe as Probe
    from camport.core.running.layers import LayerName as LayerName
    from camport.core.running.layers import choose as choose
    from camport.core.running.runs import Run as Run
    from camport.core.scorer import Scorer as Scorer

_HOMES = {
    "Adapter": "camport.core.adapter",
    "Bound": "camport.core.bound",
    "Case": "camport.core.case",
    "Explainer": "camport.core.explainer",
    "Explanation": "camport.core.explanation",
    "Fusion": "camport.core.maps.fusion",
    "Grid": "camport.core.maps.token_grid",
    "LayerName": "camport.core.running.layers",
    "Metric": "camport.core.metric",
    "ModelFamily": "camport.core.model_family",
    "Probe": "camport.core.probe",
    "Run": "camport.core.running.runs",
    "Scorer": "camport.core.scorer",
    "at_finest": "camport.core.maps.fusion",
    "choose": "camport.core.running.layers",
    "find_grid": "camport.core.maps.token_grid",
    "fuse": "camport.core.maps.fusion",
    "minmax": "camport.core.maps.heatmap",
    "normal": "camport.core.maps.noise",
    "over_layers": "camport.core.maps.fusion",
    "repeat": "camport.core.maps.loop",
    "traced": "camport.core.maps.loop",
    "uniform": "camport.core.maps.noise",
    "upsample": "camport.core.maps.heatmap",
}

_MOVED = {
    "baseline": "maps.baseline",
    "fusion": "maps.fusion",
    "grid": "maps.token_grid",
    "heatmap": "maps.heatmap",
    "layers": "running.layers",
    "loop": "maps.loop",
    "noise": "maps.noise",
    "principal": "maps.principal_component",
    "quadrature": "maps.quadrature",
    "runs": "running.runs",
}
"""Modules that authors imported from in 0.1, by the names they had, and where they are."""

__all__ = [*_HOMES]


moved(__name__, _MOVED)

_find = late(__name__, _HOMES)


def __getattr__(name: str) -> Any:
    value = _find(name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
