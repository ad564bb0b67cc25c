"""Non-maximum suppression inside a detector's file: one more output, the detections themselves.

`detections` float32 [m,7] has a row for each, of all images together: the image's number, left, top, right, bottom in
pixels of the network's input, the confidence, and the class. Suppression is class by class, as ONNX defines it: a
candidate may stand for several classes.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
from onnx import numpy_helper
from torch import Tensor

from camport.errors import ExportError
from camport.export.ort import session
from camport.export.traceable import Traceable
from camport.export.transplant import transplant

HEAD = """<ir_version: 8, opset_import: ["" : 18]>
suppress (float[b, rows, columns] outputs) => (float[m, 7] detections) {
"""
READ = {
    "yolov5": """
  centred = Slice (outputs, zero, four, last)
  sure = Slice (outputs, four, five, last)
  likely = Slice (outputs, five, end, last)
  confident = Mul (sure, likely)
  scores = Transpose <perm = [0, 2, 1]> (confident)
""",
    "yolov8": """
  columns_centred = Slice (outputs, zero, four, middle)
  centred = Transpose <perm = [0, 2, 1]> (columns_centred)
  scores = Slice (outputs, four, end, middle)
""",
}
KEEP = """
  mid, extent = Split <axis = 2, num_outputs = 2> (centred)
  reach = Mul (extent, half)
  low = Sub (mid, reach)
  high = Add (mid, reach)
  corners = Concat <axis = 2> (low, high)
  chosen = NonMaxSuppression <center_point_box = 1> (centred, scores, most, overlap, threshold)
  image, label, number = Split <axis = 1, num_outputs = 3> (chosen)
  place = Concat <axis = 1> (image, number)
  box = GatherND (corners, place)
  flat_score = GatherND (scores, chosen)
  score = Unsqueeze (flat_score, first)
  image_number = Cast <to = 1> (image)
  label_number = Cast <to = 1> (label)
  detections = Concat <axis = 1> (image_number, box, score, label_number)
}
"""


def suppression(metadata: Mapping[str, str]) -> onnx.ModelProto:
    """The graph from `outputs` to `detections`, with the form and the thresholds that the file's metadata tell.

    Raises:
        ExportError: no detector, or its outputs are not a table of boxes and scores.
    """
    adapter = json.loads(metadata.get("camport.adapter", "{}"))
    options = adapter.get("options", {})
    form = options.get("form") or {}
    if adapter.get("name") != "detection" or form.get("format") not in READ:
        raise ExportError(
            f"nms is for detectors whose outputs have the form {' or '.join(READ)}, not {form.get('format')!r}; others "
            "are read by camport.runtime.detections"
        )
    model = onnx.parser.parse_model(HEAD + READ[form["format"]] + KEEP)
    start = 5 if form["format"] == "yolov5" else 4
    constants = {
        **{
            name: np.array([value], np.int64) for name, value in (("zero", 0), ("first", 1), ("middle", 1), ("last", 2))
        },
        **{name: np.array([value], np.int64) for name, value in (("four", 4), ("five", 5))},
        "end": np.array([start + form["classes"]], np.int64),
        "half": np.array(0.5, np.float32),
        "most": np.array([options["most"]], np.int64),
        "overlap": np.array([options["iou"]], np.float32),
        "threshold": np.array([options["threshold"]], np.float32),
    }
    used = {name for node in model.graph.node for name in node.input}
    for name, value in constants.items():
        if name in used:
            model.graph.initializer.append(numpy_helper.from_array(value, name))
    onnx.checker.check_model(model, full_check=True)
    return model


def append(model: ir.Model, tail: onnx.ModelProto) -> None:
    """Puts the suppression behind the network, in place: `detections` becomes the last output.

    Raises:
        ExportError: the file has no `outputs`.
    """
    found = next((value for value in model.graph.outputs if value.name == "outputs"), None)
    if found is None:
        raise ExportError("nms needs the prediction: keep 'outputs' among the file's outputs")
    (given,), (made,) = transplant(model, tail, "suppress")
    ir.convenience.replace_all_uses_with(given, found)
    model.graph.outputs.append(made)


def check_appended(path: Path, tail: onnx.ModelProto, program: Traceable, images: Tensor) -> None:
    """What the whole file detects must be what its tail makes of its own outputs.

    Raises:
        ExportError: it is not.
    """
    run = session(path)
    feeds = {name: value.numpy() for name, value in program.sample(images, 2, 5).items()}
    if run.get_inputs()[0].shape[0] == 1:
        feeds["images"] = feeds["images"][:1]
    outputs, whole = run.run(["outputs", "detections"], feeds)
    (alone,) = session(tail.SerializeToString()).run(None, {"outputs": outputs})
    if whole.shape != alone.shape or not np.allclose(whole, alone, rtol=1e-4, atol=1e-4):
        raise ExportError("the suppression in the file does not give what it gives by itself")
