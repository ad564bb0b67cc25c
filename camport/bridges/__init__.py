"""Explanations in other people's tools: one short module a tool, imported by itself.

`supervision`, `fiftyone`, `tensorboard`, `mlflow`, `lightning`, `ultralytics` and `hub` (Hugging
Face). None of these packages is needed by camport: where one is missing, the error names the
command that brings it.
"""

from camport.late import late

_ROOMS = ("fiftyone", "hub", "lightning", "mlflow", "supervision", "tensorboard", "ultralytics")

__all__ = [*_ROOMS]

__getattr__ = late(__name__, {}, _ROOMS)


def __dir__() -> list[str]:
    return __all__
