"""Exporting an explanation - prediction, gradient and heatmap - as one file that needs no camport.

`to_onnx(bound, path, images)` takes what `camport.bind` returns, and so do the others. Importing
this package is light; PyTorch and onnx are imported when a name is first used.
"""

from typing import TYPE_CHECKING

from camport.late import late

if TYPE_CHECKING:
    from camport.export.report import ExportReport as ExportReport
    from camport.export.report import OutputParity as OutputParity
    from camport.export.writing.to_onnx import to_onnx as to_onnx
    from camport.export.writing.to_pt2 import to_pt2 as to_pt2
    from camport.export.writing.to_torchscript import to_torchscript as to_torchscript

_HOMES = {
    "to_onnx": "camport.export.writing.to_onnx",
    "to_pt2": "camport.export.writing.to_pt2",
    "to_torchscript": "camport.export.writing.to_torchscript",
    "ExportReport": "camport.export.report",
    "OutputParity": "camport.export.report",
}

__all__ = ["ExportReport", "OutputParity", "to_onnx", "to_pt2", "to_torchscript"]


__getattr__ = late(__name__, _HOMES)


def __dir__() -> list[str]:
    return __all__
