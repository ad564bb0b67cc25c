"""Non-maximum suppression inside a detector's file: one more output, the detections themselves.

`detections` float32 [m,7] has a row for each: the image's number, left, top, right, bottom in
pixels of the network's input, the confidence, and the class. Image by image they stand with the
most confident first, at most `most` of each.

The twin of `camport.adapters.detection.adapter.DetectionAdapter.listed` and of
`camport.targets.boxes.detections`; tests/export/test_suppression.py holds the three equal. A
candidate stands for its best class alone, the `CONSIDERED` most confident of an image are looked
at, and suppression is class by class.
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx import numpy_helper

from camport.errors import ExportError
from camport.export.onnx_file.ort import session
from camport.export.onnx_file.step import Draft, Step, ensures
from camport.export.onnx_file.transplant import transplant

HEAD = """<ir_version: 8, opset_import: ["" : 18]>
suppress (float[b, rows, columns] outputs) => (float[m, 7] detections) {
"""
READ = {
    "yolov5": (
        """
  centred = Slice (outputs, zero, four, last)
  likely = Slice (outputs, five, end, last)
  likeliest = ReduceMax <keepdims = 0> (likely, last)
  sure_column = Slice (outputs, four, five, last)
  sure = Squeeze (sure_column, last)
  certain = Mul (likeliest, sure)
"""
    ),
    "yolov8": (
        """
  rows = Transpose <perm = [0, 2, 1]> (outputs)
  centred = Slice (rows, zero, four, last)
  likely = Slice (rows, four, end, last)
  certain = ReduceMax <keepdims = 0> (likely, last)
"""
    ),
}
ROTATED = """
  rows = Transpose <perm = [0, 2, 1]> (outputs)
  middle = Slice (rows, zero, last, last)
  sides = Slice (rows, last, four, last)
  width, length = Split <axis = 2, num_outputs = 2> (sides)
  crossed = Concat <axis = 2> (length, width)
  angle = Slice (rows, end, past, last)
  turned = Cos (angle)
  cosine = Abs (turned)
  raised = Sin (angle)
  sine = Abs (raised)
  along = Mul (sides, cosine)
  across = Mul (crossed, sine)
  around = Add (along, across)
  centred = Concat <axis = 2> (middle, around)
  likely = Slice (rows, four, end, last)
  certain = ReduceMax <keepdims = 0> (likely, last)
"""
"""Of the form "yolov8" with an angle: the upright boxes around the rotated ones."""

KEEP = """
  class_of = ArgMax <axis = 2, keepdims = 0> (likely)
  reached = GreaterOrEqual (certain, threshold)
  eligible = Where (reached, certain, nothing)
  rows_there = Shape <start = 1, end = 2> (eligible)
  rows_taken = Min (rows_there, considered)
  ranked, place = TopK <axis = 1> (eligible, rows_taken)
  ranked_class = GatherElements <axis = 1> (class_of, place)
  place_index = Unsqueeze (place, last)
  ranked_box = GatherND <batch_dims = 1> (centred, place_index)
  class_row = Unsqueeze (ranked_class, first)
  own_class = Equal (class_row, classes)
  score_row = Unsqueeze (ranked, first)
  class_scores = Where (own_class, score_row, nothing)
  chosen = NonMaxSuppression <center_point_box = 1>
    (ranked_box, class_scores, most, overlap, lowest)
  chosen_image, chosen_class, chosen_rank = Split <axis = 1, num_outputs = 3> (chosen)
  chosen_place = Concat <axis = 1> (chosen_image, chosen_rank)
  chosen_count = Shape <start = 0, end = 1> (chosen)
  marks = ConstantOfShape <value = int64[1] {1}> (chosen_count)
  grid = Shape (ranked)
  unmarked = ConstantOfShape <value = int64[1] {0}> (grid)
  marked = ScatterND (unmarked, chosen_place, marks)
  counted = CumSum (marked, column_axis)
  among_best = LessOrEqual (counted, most)
  selected = Cast <to = 9> (marked)
  kept = And (selected, among_best)
  kept_axes = NonZero (kept)
  kept_place = Transpose (kept_axes)
  image = Slice (kept_place, zero, first, first)
  kept_box = GatherND (ranked_box, kept_place)
  mid, extent = Split <axis = 1, num_outputs = 2> (kept_box)
  reach = Mul (extent, half)
  low = Sub (mid, reach)
  high = Add (mid, reach)
  flat_score = GatherND (ranked, kept_place)
  score = Unsqueeze (flat_score, first)
  flat_class = GatherND (ranked_class, kept_place)
  label = Unsqueeze (flat_class, first)
  image_number = Cast <to = 1> (image)
  label_number = Cast <to = 1> (label)
"""
"""TopK puts the lower number first among equals, and NonZero goes row by row: so the order is that
of confidence."""

END = {
    False: (
        """
  detections = Concat <axis = 1> (image_number, low, high, score, label_number)
}
"""
    ),
    True: (
        """
  numbers = GatherND (place, kept_place)
  flat_number = Unsqueeze (numbers, first)
  number = Cast <to = 1> (flat_number)
  detections = Concat <axis = 1> (image_number, low, high, score, label_number, number)
}
"""
    ),
}

CONSIDERED = 1000
"""Candidates of an image that are looked at, the most confident ones, as in PyTorch."""

THRESHOLD = "threshold"
"""The name of the constant that holds it."""

PART = "suppress"
"""The name under which the part stands in a file."""


def suppression(metadata: Mapping[str, str], numbered: bool = False) -> onnx.ModelProto:
    """The graph from `outputs` to `detections`,
    with the form and the thresholds that the file's metadata tell.

    Args:
        metadata: the file's.
        numbered: whether each row ends with the candidate's number, in an eighth column.

    Raises:
        ExportError: no detector, or its outputs are not a table of boxes and scores.
    """
    kind = form_of(metadata)
    options = json.loads(metadata["camport.adapter"])["options"]
    form = options["form"]
    head = HEAD.replace("m, 7", "m, 8") if numbered else HEAD
    rotated = form.get("angle") is not None
    model = onnx.parser.parse_model(
        head + (ROTATED if rotated else READ[kind]) + KEEP + END[numbered]
    )
    end = (5 if kind == "yolov5" else 4) + form["classes"]
    whole = {"zero": 0, "first": 1, "last": 2, "four": 4, "five": 5, "end": end, "past": end + 1}
    constants = {
        **{name: np.array([value], np.int64) for name, value in whole.items()},
        "column_axis": np.array(1, np.int64),
        "considered": np.array([CONSIDERED], np.int64),
        "classes": np.arange(form["classes"], dtype=np.int64)[:, None],
        "half": np.array(0.5, np.float32),
        "most": np.array([options["most"]], np.int64),
        "overlap": np.array([options["iou"]], np.float32),
        THRESHOLD: np.array([options["threshold"]], np.float32),
        "nothing": np.array(-1, np.float32),
        "lowest": np.array([-0.5], np.float32),  # a confidence of 0 reaches a threshold of 0
    }
    used = {name for node in model.graph.node for name in node.input}
    for name, value in constants.items():
        if name in used:
            model.graph.initializer.append(numpy_helper.from_array(value, name))
    onnx.checker.check_model(model, full_check=True)
    return model


def form_of(metadata: Mapping[str, str]) -> str:
    """The form of a detector's table, one of READ.

    Raises:
        ExportError: no detector, or its outputs are not a table of boxes and scores.
    """
    adapter = json.loads(metadata.get("camport.adapter", "{}"))
    form = adapter.get("options", {}).get("form") or {}
    if adapter.get("name") != "detection" or form.get("format") not in READ:
        raise ExportError(
            f"nms is for detectors whose outputs have the form {' or '.join(READ)}, not"
            f" {form.get('format')!r}; others are read by camport.runtime.detections"
        )
    return str(form["format"])


def is_table(name: str, axes: int) -> bool:
    """Whether an output may be the one that candidates are read from, the first of three axes."""
    return name.startswith("outputs") and axes == 3


class Suppression(Step):
    """Puts the suppression behind the network: `detections` becomes the last output.

    Args:
        tail: its graph, see `suppression`.
    """

    name = "nms"

    def __init__(self, tail: onnx.ModelProto) -> None:
        self.tail = tail

    @classmethod
    def of(cls, draft: Draft) -> Step | None:
        """Where suppression is asked for."""
        return None if draft.options.tail is None else cls(draft.options.tail)

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrites the graph.

        Raises:
            ExportError: the file does not give the prediction.
        """
        found = next(
            (value for value in model.graph.outputs if is_table(value.name, len(value.shape))), None
        )
        if found is None:
            raise ExportError("nms needs the prediction: keep 'outputs' among the file's outputs")
        (given,), (made,) = transplant(model, self.tail, PART)
        ir.convenience.replace_all_uses_with(given, found)
        model.graph.outputs.append(made)
        return ir.passes.PassResult(model, modified=True)

    def ensures(self, model: ir.Model) -> None:
        """The detections come last."""
        ensures(model.graph.outputs[-1].name == "detections", "detections as the last output")

    def prove(self, draft: Draft) -> Mapping[str, Any]:
        """What the whole file detects is what its tail makes of its own outputs."""
        feeds = {
            name: value.numpy() for name, value in draft.program.sample(draft.images, 2, 5).items()
        }
        # of 0, so that there is something to suppress
        for threshold in (None, np.zeros(1, np.float32)):
            run = session(
                draft.path, None if threshold is None else {f"{PART}.{THRESHOLD}": threshold}
            )
            if run.get_inputs()[0].shape[0] == 1:
                feeds["images"] = feeds["images"][:1]
            table = next(
                value.name for value in run.get_outputs() if is_table(value.name, len(value.shape))
            )
            outputs, whole = run.run([table, "detections"], feeds)
            apart = session(
                self.tail.SerializeToString(), None if threshold is None else {THRESHOLD: threshold}
            )
            (alone,) = apart.run(None, {"outputs": outputs})
            if whole.shape != alone.shape or not np.allclose(whole, alone, rtol=1e-4, atol=1e-4):
                raise ExportError(
                    "the suppression in the file does not give what it gives by itself"
                )
        return {}
