"""camport: a visual explanation as part of the model file.

`bind` a method to a model and call it, or export it with `camport.export`. Importing this package
imports neither PyTorch nor anything else that is large: names arrive when they are first used.
"""

from typing import TYPE_CHECKING, Any

from camport.core.markers import hookimpl
from camport.errors import CamportError, CamportWarning
from camport.late import late
from camport.version import __version__

if TYPE_CHECKING:
    from camport.binding import bind, explain
    from camport.comparison import Comparison, compare
    from camport.core.adapter import Adapter
    from camport.core.bound import Bound
    from camport.core.case import Case
    from camport.core.explainer import Explainer
    from camport.core.explanation import Explanation
    from camport.core.infos import AdapterInfo, MethodInfo, MetricInfo, PluginInfo
    from camport.core.metric import Metric
    from camport.core.model_family import ModelFamily
    from camport.core.probe import Probe
    from camport.core.registry import adapters, methods, metrics
    from camport.core.sweep import sweep
    from camport.targets import Field

_LAZY = {
    "Adapter": "camport.core.adapter",
    "AdapterInfo": "camport.core.infos",
    "Bound": "camport.core.bound",
    "Case": "camport.core.case",
    "Comparison": "camport.comparison",
    "Explainer": "camport.core.explainer",
    "Explanation": "camport.core.explanation",
    "Field": "camport.targets",
    "MethodInfo": "camport.core.infos",
    "Metric": "camport.core.metric",
    "ModelFamily": "camport.core.model_family",
    "MetricInfo": "camport.core.infos",
    "PluginInfo": "camport.core.infos",
    "Probe": "camport.core.probe",
    "bind": "camport.binding",
    "compare": "camport.comparison",
    "explain": "camport.binding",
    "methods": "camport.core.registry",
    "sweep": "camport.core.sweep",
}

_ROOMS = (
    *(
        "adapters",
        "bridges",
        "compat",
        "export",
        "metrics",
        "models",
        "plugins",
        "runtime",
        "testing",
        "training",
    ),
    "view",
)
"""`adapters` and `metrics` are each a room and a function in one, see
camport/adapters/__init__.py."""

__all__ = [
    "Adapter",
    "AdapterInfo",
    "Bound",
    "CamportError",
    "CamportWarning",
    "Case",
    "Comparison",
    "Explainer",
    "Explanation",
    "Field",
    "MethodInfo",
    "Metric",
    "MetricInfo",
    "ModelFamily",
    "PluginInfo",
    "Probe",
    "__version__",
    "adapters",
    "bind",
    "compare",
    "explain",
    "hookimpl",
    "methods",
    "metrics",
    "sweep",
]


_find = late(__name__, _LAZY, _ROOMS)


def __getattr__(name: str) -> Any:
    value = _find(name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
