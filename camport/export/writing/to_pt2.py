"""Exporting to .pt2, the format of torch.export."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from camport.errors import ExportError
from camport.export.capture.capture import Captured, DynamicAxes
from camport.export.file_format import Written
from camport.export.graph import aten_histogram, sealed
from camport.export.output_selection import check_outputs
from camport.export.pipeline import (
    Exportable,
    check_dynamic,
    check_precision,
    checked_target,
    export_program,
)
from camport.export.quiet import quiet
from camport.export.report import ExportReport
from camport.export.rewrite.scan import loops_to_scans
from camport.export.writing.archive import write_archive
from camport.export.writing.aten_file import AtenFile


def to_pt2(
    bound: Exportable,
    path: str | os.PathLike[str],
    images: Tensor,
    target: Any = None,
    *,
    dynamic: str = "batch",
    outputs: Sequence[str] | None = None,
    precision: str = "float32",
    report: bool = False,
) -> ExportReport:
    """Writes prediction, gradient and heatmap as one .pt2 file of ATen operators and proves it
    equal to eager PyTorch.

    `torch.export.load(path).module()(images, target)` runs it, without camport, and returns a
    tuple; the names of its elements are the extra file `camport.outputs`, a JSON list, beside the
    metadata of the ONNX format.

    Args:
        bound: what `camport.bind` returns.
        path: the file to write; its directory must exist. Nothing is left there if the export
            fails.
        images: [b,c,H,W], one example batch.
        target: for these images, as an example, where the adapter has no default; any other can be
            given to the file.
        dynamic: "batch", or "batch+size" where height and width shall stay free too.
        outputs: names of the outputs the file has, in that order, e.g. ("score", "heatmap"); None:
            all.
        precision: "float32", or "float16" inside with float32 inputs and outputs: half the size.
        report: whether the report is stored beside the file, as FILE.report.json.

    Raises:
        OutputError: the file cannot be written there.
        InputError, UnknownNameError: an option that does not exist; the nearest is offered.
        ExportError: the model cannot be captured, lowered or written in ATen operators.
        ParityError: the file, in a fresh process, does not reproduce eager PyTorch.
    """
    file = checked_target(path)
    check_dynamic(dynamic)
    check_outputs(outputs)
    check_precision(precision, ("float32", "float16"))
    return export_program(
        bound.program(images, target),
        file,
        images,
        bound.metadata(images),
        Pt2(),
        dynamic=dynamic,
        outputs=outputs,
        precision=precision,
        report=report,
    )


class Pt2(AtenFile):
    """Files of `torch.export.save`, checked in a process without camport."""

    name = "torch.export"
    engine = "export"

    def write(
        self,
        lowered: Captured,
        example: Mapping[str, Tensor],
        axes: DynamicAxes,
        metadata: Mapping[str, str],
        path: Path,
    ) -> Written:
        """Exports the graph and saves it without the example."""
        self.remember(lowered)
        loops_to_scans(lowered.graph)
        graph = sealed(lowered.graph)
        shapes = tuple(
            dict.fromkeys(axes.get(name, {}), torch.export.Dim.DYNAMIC) for name in lowered.inputs
        )
        arguments = tuple(example[name] for name in lowered.inputs)
        extra = {**metadata, "camport.outputs": json.dumps(lowered.outputs)}
        with quiet():
            try:
                program = torch.export.export(graph, arguments, dynamic_shapes=shapes, strict=False)
                # numbers of this process's graphs, different in each run
                for node in program.graph.nodes:
                    node.meta.pop("from_node", None)
                # would be saved, and be the larger part of a small model's file
                program.example_inputs = None
                size = sum(v.nbytes for v in program.state_dict.values())
                write_archive(
                    path, size, lambda stream: torch.export.save(program, stream, extra_files=extra)
                )
            except (OSError, MemoryError):
                raise
            except Exception as error:  # torch.export has no base class of its own
                first_line = (str(error).strip() or "no reason given").splitlines()[0][:200]
                raise ExportError(
                    f"torch.export refused the lowered graph: {type(error).__name__}: {first_line}"
                ) from error
        return Written(aten_histogram(program.graph_module))
