"""A detector's file that explains its own detections: it takes one image, and gives what it found with a map each."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
from onnx import numpy_helper
from torch import Tensor

from camport.errors import ExportError
from camport.export.ort import session
from camport.export.transplant import transplant

DETECTED = "m"
"""The name of the axis that has a row for each detection."""

ASK = """<ir_version: 8, opset_import: ["" : 18]>
ask (float[m, 7] detections) => (float[rows, 4] boxes, int64[rows] class_ids, int64[1] count) {
  count = Shape <start = 0, end = 1> (detections)
  lacking = Sub (one, count)
  spare = Max (lacking, zero)
  pads = Concat <axis = 0> (zero, zero, spare, zero)
  asked = Pad (detections, pads)
  boxes = Slice (asked, one, five, one)
  labels = Gather <axis = 1> (asked, six)
  class_ids = Cast <to = 7> (labels)
}
"""
"""Where nothing is found the model is asked about a box without area all the same: engines fail on tensors without
rows. Its map is cut off again."""


def ask_about_detections(model: ir.Model) -> None:
    """The detections themselves are what is explained, in place of the inputs `boxes` and `class_ids`.

    Requires: a file for one image whose last output is `detections`.
    """
    graph = model.graph
    detections, inputs = graph.outputs[-1], list(graph.inputs[1:])
    label = inputs[0].shape[0].value
    part = onnx.parser.parse_model(ASK)
    for name, value in (("zero", [0]), ("one", [1]), ("five", [5]), ("six", 6)):
        part.graph.initializer.append(numpy_helper.from_array(np.array(value, np.int64), name))
    onnx.checker.check_model(part, full_check=True)
    (given,), (*asked, count) = transplant(model, part, "ask")
    ir.convenience.replace_all_uses_with(given, detections)
    by_name = {value.name: value for value in asked}
    for old in inputs:
        new = by_name[old.name]
        graph.inputs.remove(old)
        old.name, new.shape = f"{old.name}.input", old.shape
        ir.convenience.replace_all_uses_with(old, new)
    zero = graph.initializers["ask.zero"]
    for place, value in enumerate(graph.outputs):
        if value.shape is not None and list(value.shape)[:1] == [label]:
            cut = ir.node("Slice", [value, zero, count, zero])
            cut.outputs[0].name, value.name = value.name, f"{value.name}.asked"
            cut.outputs[0].shape, cut.outputs[0].type = ir.Shape([DETECTED, *value.shape[1:]]), value.type
            graph.append(cut)
            graph.outputs[place] = cut.outputs[0]
    graph.sort()


def check_detected(asked: Path, detected: Path, images: Tensor) -> None:
    """What the file says of its detections must be what it says when it is asked about them, also of none at all.

    Args:
        asked: the file that takes boxes and classes.
        detected: the same, asked about its own detections.
        images: [b,c,H,W]; of the first, and of none of its pixels.

    Raises:
        ExportError: it is not.
    """
    whole, parts = session(detected), session(asked)
    names = [output.name for output in whole.get_outputs()]
    for image in (images[:1].numpy(), np.zeros_like(images[:1].numpy())):
        got = dict(zip(names, whole.run(names, {"images": image}), strict=True))
        rows = got["detections"]
        if len(rows):
            feeds = {"images": image, "boxes": rows[:, 1:5], "class_ids": rows[:, 6].astype(np.int64)}
            _check_same(got, dict(zip(names, parts.run(names, feeds), strict=True)), "explaining its own detections")


def _check_same(got: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray], what: str) -> None:
    for name, value in expected.items():
        if got[name].shape != value.shape or not np.allclose(got[name], value, rtol=1e-4, atol=1e-4):
            raise ExportError(f"{what}, the file does not give the {name!r} that its parts give")
