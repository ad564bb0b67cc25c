"""A detector's file that explains its own detections: it takes one image,
and gives what it found with a map each.

It asks itself about candidates by their numbers. A box would not do: where two candidates overlap,
the one that is matched may be another than the one that was detected.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import torch
from onnx import numpy_helper
from torch import Tensor

from camport.errors import ExportError
from camport.export.onnx_file.nms import PART, THRESHOLD, is_table
from camport.export.onnx_file.ort import session
from camport.export.onnx_file.step import Draft, Step, ensures, requires
from camport.export.onnx_file.transplant import transplant
from camport.export.traceable import Traceable

DETECTED = "m"
"""The name of the axis that has a row for each detection."""

ASK = """<ir_version: 8, opset_import: ["" : 18]>
ask (float[m, 8] numbered)
    => (float[m, 7] detections, float[rows, 4] boxes, int64[rows] class_ids, int64[rows] index,
        int64[1] count) {
  detections = Slice (numbered, zero, seven, one)
  count = Shape <start = 0, end = 1> (numbered)
  lacking = Sub (one, count)
  spare = Max (lacking, zero)
  pads = Concat <axis = 0> (zero, zero, spare, zero)
  asked = Pad (numbered, pads)
  boxes = Slice (asked, one, five, one)
  labels = Gather <axis = 1> (asked, six)
  class_ids = Cast <to = 7> (labels)
  numbers = Gather <axis = 1> (asked, last)
  index = Cast <to = 7> (numbers)
}
"""
"""Where nothing is found the model is asked about candidate 0 all the same: engines fail on tensors
without rows. Its map is cut off again."""


CONSTANTS = {"zero": [0], "one": [1], "five": [5], "seven": [7], "six": 6, "last": 7}


class ByNumber:
    """A detector's program that is asked about candidates by their numbers, `index` int64 [b],
    beside box and class.

    Args:
        program: the detector's.
        images: [b,c,H,W], one example batch: the program is run once, to see how many candidates
            there are.
        form: in which it answers, "yolov5" or "yolov8".
    """

    def __init__(self, program: Traceable, images: Tensor, form: str) -> None:
        self.program, self.state = program, program.state
        self.inputs = (*program.inputs, "index")
        outputs = program(program.state, program.sample(images[:1], 1, 0))
        table = next(value for name, value in outputs.items() if is_table(name, value.dim()))
        self.candidates = table.shape[2 if form == "yolov8" else 1]

    def __call__(
        self, state: Mapping[str, Tensor], inputs: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """The program's outputs, of the candidates `inputs["index"]`."""
        return self.program(state, inputs)

    def sample(self, images: Tensor, batch: int, seed: int) -> dict[str, Tensor]:
        """The program's, and any candidates."""
        generator = torch.Generator().manual_seed(seed)
        index = torch.randint(self.candidates, (batch,), generator=generator)
        return {**self.program.sample(images, batch, seed), "index": index}


class ExplainDetections(Step):
    """The detections are what is explained, in place of the inputs `boxes`,
    `class_ids` and `index`."""

    name = "explain detections"
    batch = DETECTED

    @classmethod
    def of(cls, draft: Draft) -> Step | None:
        """Where suppression and one image are asked for."""
        return cls() if draft.options.tail is not None and draft.options.one_image else None

    def requires(self, model: ir.Model) -> None:
        """A file for one image whose last output is `detections` with the candidates' numbers."""
        images, *others = model.graph.inputs
        requires(
            images.shape[0] == 1
            and {value.name for value in others} == {"boxes", "class_ids", "index"},
            "one image",
        )
        requires(model.graph.outputs[-1].name == "detections", "detections as the last output")

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrites the graph."""
        graph = model.graph
        detections, inputs = graph.outputs[-1], list(graph.inputs[1:])
        label = inputs[0].shape[0].value
        part = onnx.parser.parse_model(ASK)
        for name, value in CONSTANTS.items():
            part.graph.initializer.append(numpy_helper.from_array(np.array(value, np.int64), name))
        onnx.checker.check_model(part, full_check=True)
        (given,), (public, *asked, count) = transplant(model, part, "ask")
        ir.convenience.replace_all_uses_with(given, detections)
        detections.name, public.name = "detections.numbered", detections.name
        graph.outputs[-1] = public
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
                cut.outputs[0].shape, cut.outputs[0].type = (
                    ir.Shape([DETECTED, *value.shape[1:]]),
                    value.type,
                )
                graph.append(cut)
                graph.outputs[place] = cut.outputs[0]
        graph.sort()
        return ir.passes.PassResult(model, modified=True)

    def ensures(self, model: ir.Model) -> None:
        """The image is all that the file takes."""
        ensures(
            [value.name for value in model.graph.inputs] == ["images"], "images as the only input"
        )

    def prove(self, draft: Draft) -> Mapping[str, Any]:
        """What the file says of its detections is what the file before says when it is asked about
        them.

        Of the first example image, and of a black one. Where the file finds nothing it must run as
        well.
        """
        images = draft.images[:1].numpy()
        nothing = session(draft.path, {f"{PART}.{THRESHOLD}": np.full(1, 2, np.float32)})
        # so that something is found, whatever the images show
        low = {f"{PART}.{THRESHOLD}": np.zeros(1, np.float32)}
        whole, parts = session(draft.path, low), session(draft.before, low)
        names = [output.name for output in whole.get_outputs()]
        nothing.run(names, {"images": images})
        for image in (images, np.zeros_like(images)):
            got = dict(zip(names, whole.run(names, {"images": image}), strict=True))
            feeds = {"images": image, **_targets(np.zeros((1, 8), np.float32))}
            (rows,) = parts.run(["detections"], feeds)
            if len(rows):
                expected = dict(
                    zip(names, parts.run(names, {"images": image, **_targets(rows)}), strict=True)
                )
                expected["detections"] = rows[:, :7]
                _check_same(got, expected, "explaining its own detections")
        return {"dynamic": (DETECTED,)}


def _targets(rows: np.ndarray) -> dict[str, np.ndarray]:
    """What asks the file about the rows of its `detections`."""
    label, number = rows[:, 6].astype(np.int64), rows[:, 7].astype(np.int64)
    return {"boxes": rows[:, 1:5], "class_ids": label, "index": number}


def _check_same(
    got: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray], what: str
) -> None:
    for name, value in expected.items():
        if got[name].shape != value.shape or not np.allclose(
            got[name], value, rtol=1e-4, atol=1e-4
        ):
            raise ExportError(f"{what}, the file does not give the {name!r} that its parts give")
