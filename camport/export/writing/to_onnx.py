"""Exporting to ONNX."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.fx import GraphModule

from camport.export.capture.capture import Captured, DynamicAxes
from camport.export.file_format import Written
from camport.export.onnx_file import from_graph
from camport.export.onnx_file.explain_detections import ByNumber
from camport.export.onnx_file.finishing import finish
from camport.export.onnx_file.from_graph import OPSET, check_opset
from camport.export.onnx_file.int8 import check_calibration
from camport.export.onnx_file.lint import BATCH, lint
from camport.export.onnx_file.nms import form_of, suppression
from camport.export.onnx_file.one_image import check_asked, check_shareable
from camport.export.onnx_file.ort import runner
from camport.export.onnx_file.preprocessing import wanted
from camport.export.onnx_file.step import Draft, Options
from camport.export.onnx_file.supported import check_supported, missing
from camport.export.output_selection import check_outputs
from camport.export.pipeline import (
    Exportable,
    check_dynamic,
    check_precision,
    checked_target,
    export_program,
)
from camport.export.report import ExportReport
from camport.export.rules import RULES
from camport.export.traceable import Traceable


def to_onnx(
    bound: Exportable,
    path: str | os.PathLike[str],
    images: Tensor,
    target: Any = None,
    *,
    dynamic: str = "batch",
    outputs: Sequence[str] | None = None,
    opset: int = OPSET,
    precision: str = "float32",
    calibration: Tensor | None = None,
    preprocess: bool = False,
    nms: bool = False,
    one_image: bool = False,
    report: bool = False,
) -> ExportReport:
    """Writes prediction, gradient and heatmap as one ONNX file and proves it equal to eager
    PyTorch.

    Weights of more than 1.9 GB go to FILE.onnx.data beside the file.

    Args:
        bound: what `camport.bind` returns.
        path: the file to write; its directory must exist. Nothing is left there if the export
            fails.
        images: [b,c,H,W], one example batch.
        target: for these images, as an example, where the adapter has no default; any other can be
            given to the file.
        dynamic: "batch", or "batch+size" where height and width shall stay free too.
        outputs: names of the outputs the file has, in that order, e.g. ("score", "heatmap");
            "feature_maps" stands for those of all layers. None: all. What leads to the others alone
            is not in the file.
        opset: version of the standard operators, 18 to 23.
        precision: "float32"; "float16": half the size, computed in half precision, inputs and
            outputs float32, as near to float64 as PyTorch in float16 is; or "int8": the forward
            pass in 8 bits, the gradient in float32. Of an int8 file the float32 file it is made
            from passes the parity, and the report tells how well the two agree.
        calibration: [n,c,H,W], for int8: images as the model will see them, prepared like `images`.
            A quarter of them does not calibrate but compares.
        preprocess: whether the file prepares its images itself: `images` are then uint8
            [b,height,width,3] of any size, RGB, and what `camport.bind` was told under `preprocess`
            happens in the graph. The heatmap has the network's size; `camport.runtime` lays it over
            the photograph.
        nms: whether a detector's file suppresses overlapping boxes itself: a last output
            `detections` [m,7] has the image's number, the box, the confidence and the class of each
            that is left, the most confident of an image first, and as many of each image as the
            adapter's `most`.
        one_image: whether the file takes a single image, `images` [1,c,H,W], and any number of
            targets for it: what depends on the image alone is computed once, and `outputs` and
            `feature_maps` have a first axis of 1. With `nms` the targets are the file's own
            detections: it takes the image alone, and `score`, `heatmap` and `gradients` have a row
            for each row of `detections`, so that one run gives the detections and their maps.
        report: whether the report is stored beside the file, as FILE.report.json.

    Raises:
        OutputError: the file cannot be written there.
        InputError, UnknownNameError: an option that does not exist or does not fit; the nearest is
            offered.
        ExportError: the model cannot be captured, lowered or written in standard operators.
        ParityError: the file does not reproduce eager PyTorch, or int8 does not agree with float32.
    """
    file = checked_target(path)
    check_dynamic(dynamic)
    check_outputs(outputs)
    check_opset(opset)
    check_precision(precision, ("float32", "float16", "int8"))
    check_calibration(calibration, images, precision)
    program, metadata = bound.program(images, target), bound.metadata(images)
    spec = wanted(metadata, images.shape, dynamic) if preprocess else None
    tail = suppression(metadata, numbered=one_image) if nms else None
    if one_image:
        check_asked(program)
    if tail is not None and one_image:
        program = ByNumber(program, images, form_of(metadata))
    return export_program(
        program,
        file,
        images,
        metadata,
        Onnx(opset, Options(calibration, spec, tail, one_image)),
        dynamic=dynamic,
        outputs=outputs,
        precision=precision,
        report=report,
    )


class Onnx:
    """ONNX files of standard operators, checked in ONNX Runtime.

    Args:
        opset: version of the standard operators.
        options: what is done to the file once it is proven.
    """

    name = "ONNX"
    rules = RULES

    def __init__(self, opset: int, options: Options) -> None:
        self.opset, self.options = opset, options
        self.model: Any = None

    def missing(self, operator: Any, args: Sequence[Any]) -> str | None:
        """What no rule lowers and ONNX has no form of."""
        return missing(operator, args)

    def check(self, graph: GraphModule) -> None:
        """Every operator must have an ONNX form; a file for one image has no loops."""
        check_supported(graph)
        if self.options.one_image:
            check_shareable(graph)

    def write(
        self,
        lowered: Captured,
        example: Mapping[str, Tensor],
        axes: DynamicAxes,
        metadata: Mapping[str, str],
        path: Path,
    ) -> Written:
        """Translates, saves and lints."""
        self.model = from_graph.to_model(lowered, example, axes, metadata, self.opset)
        return self.save(path)

    def run(
        self, path: Path, samples: Sequence[Mapping[str, Tensor]]
    ) -> list[Mapping[str, Tensor]]:
        """In one session of ONNX Runtime."""
        run = runner(path)
        return [run(inputs) for inputs in samples]

    def finish(self, path: Path, program: Traceable, images: Tensor, written: Written) -> Written:
        """Does the steps that are asked for; each is proven."""
        return finish(Draft(self.options, self.model, path, program, images, self.save, written))

    def save(self, path: Path, batch: str = BATCH) -> Written:
        """Writes the model, and refuses what ONNX Runtime would not run alike."""
        from_graph.save(self.model, path)
        lint(path, batch, one_image=self.options.one_image)
        return Written(from_graph.histogram(self.model), self.opset)
