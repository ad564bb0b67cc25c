"""The built-in adapters, a folder a task; registered through the same hook as everybody else's.

The package is also the function `camport.adapters()`, which lists all that are registered: one name
for both, so the module itself is callable.
"""

import sys
from types import ModuleType

from camport.adapters.classification.adapter import ClassificationAdapter
from camport.adapters.classification.similarity import SimilarityAdapter
from camport.adapters.detection.adapter import DetectionAdapter
from camport.adapters.function import FunctionAdapter
from camport.adapters.segmentation.adapter import SegmentationAdapter
from camport.adapters.text.captioning import CaptioningAdapter
from camport.adapters.text.vqa import VqaAdapter
from camport.adapters.text.vqa_words import WrittenAnswerAdapter
from camport.core.adapter import Adapter
from camport.core.infos import AdapterInfo
from camport.core.markers import hookimpl
from camport.core.registry import adapters as _registered
from camport.late import moved

__all__ = [
    "CaptioningAdapter",
    "ClassificationAdapter",
    "DetectionAdapter",
    "FunctionAdapter",
    "SegmentationAdapter",
    "SimilarityAdapter",
    "VqaAdapter",
    "WrittenAnswerAdapter",
]


@hookimpl
def camport_adapters() -> list[type[Adapter]]:
    """All of them."""
    return [
        CaptioningAdapter,
        ClassificationAdapter,
        DetectionAdapter,
        FunctionAdapter,
        SegmentationAdapter,
        SimilarityAdapter,
        VqaAdapter,
        WrittenAnswerAdapter,
    ]


class _Callable(ModuleType):
    def __call__(self) -> dict[str, AdapterInfo]:
        """All adapters by name, built in and from plugins."""
        return _registered()


# modules of 0.1, by the names they had
moved(
    __name__,
    {
        "captioning": "text.captioning",
        "similarity": "classification.similarity",
        "vqa": "text.vqa",
        "vqa_words": "text.vqa_words",
        "words": "text.words",
    },
)
sys.modules[__name__].__class__ = _Callable
