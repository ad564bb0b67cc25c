"""What is done to a proven .onnx file, in this order; each step proves what it did.

A further step is a file with a `camport.export.onnx_file.step.Step`, and a line in `STEPS`.
"""

from dataclasses import replace

from camport.export.file_format import Written
from camport.export.onnx_file.explain_detections import ExplainDetections
from camport.export.onnx_file.int8 import Int8
from camport.export.onnx_file.nms import Suppression
from camport.export.onnx_file.one_image import OneImage
from camport.export.onnx_file.preprocessing import Preprocessing
from camport.export.onnx_file.step import Draft, Step

STEPS: tuple[tuple[type[Step], str], ...] = (
    (Int8, "first: calibration runs the network on images as the file takes them so far"),
    (OneImage, "before suppression, whose detections become the targets"),
    (Suppression, "behind the outputs, which it reads"),
    (ExplainDetections, "behind suppression: its rows are the targets"),
    (Preprocessing, "last: the others prove themselves on prepared images"),
)
"""Each with the reason for its place."""


def finish(draft: Draft) -> Written:
    """Does the steps that are asked for."""
    for kind, _ in STEPS:
        step = kind.of(draft)
        if step is not None:
            draft.do(step)
    return replace(draft.written, **draft.measured)
