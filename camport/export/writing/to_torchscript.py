"""Exporting to TorchScript."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from camport.errors import ExportError, ParityError
from camport.export.capture.capture import Captured, DynamicAxes
from camport.export.file_format import Written
from camport.export.graph import aten_histogram, sealed
from camport.export.output_selection import check_outputs
from camport.export.pipeline import Exportable, checked_target, export_program
from camport.export.quiet import quiet
from camport.export.report import ExportReport
from camport.export.rewrite.scan import unroll_loops
from camport.export.rewrite.traced_sizes import traced_sizes
from camport.export.writing.aten_file import AtenFile


def to_torchscript(
    bound: Exportable,
    path: str | os.PathLike[str],
    images: Tensor,
    target: Any = None,
    *,
    outputs: Sequence[str] | None = None,
    report: bool = False,
) -> ExportReport:
    """Writes prediction, gradient and heatmap as one TorchScript file and proves it equal to eager
    PyTorch.

    `torch.jit.load(path)(images, target)` runs it, without camport, in Python or C++, and returns a
    tuple; the names of its elements are the extra file `camport.outputs`, a JSON list, beside the
    metadata of the ONNX format.

    The batch is dynamic where TorchScript can express it. Where it cannot, the file takes batches
    as long as `images` alone; the report's `dynamic` is then empty. PyTorch deprecates TorchScript:
    prefer `to_pt2` where nothing asks for this format.

    Args:
        bound: what `camport.bind` returns.
        path: the file to write; its directory must exist. Nothing is left there if the export
            fails.
        images: [b,c,H,W], one example batch.
        target: for these images, as an example, where the adapter has no default; any other can be
            given to the file.
        outputs: names of the outputs the file has, in that order, e.g. ("score", "heatmap"); None:
            all.
        report: whether the report is stored beside the file, as FILE.report.json.

    Raises:
        OutputError: the file cannot be written there.
        InputError, UnknownNameError: an output that does not exist; the nearest is offered.
        ExportError: the model cannot be captured, lowered or written in ATen operators.
        ParityError: the file, in a fresh process, does not reproduce eager PyTorch.
    """
    file = checked_target(path)
    check_outputs(outputs)
    program, metadata = bound.program(images, target), bound.metadata(images)

    def export(dynamic: str) -> ExportReport:
        return export_program(
            program,
            file,
            images,
            metadata,
            TorchScript(),
            dynamic=dynamic,
            outputs=outputs,
            report=report,
        )

    try:
        return export("batch")
    except ParityError:
        raise
    except ExportError:  # what has no static form either fails again, with its own words
        return export("none")


class TorchScript(AtenFile):
    """Files of `torch.jit.save`, checked in a process without camport."""

    name = "TorchScript"
    engine = "jit"

    def write(
        self,
        lowered: Captured,
        example: Mapping[str, Tensor],
        axes: DynamicAxes,
        metadata: Mapping[str, str],
        path: Path,
    ) -> Written:
        """Traces the graph once more, by torch.jit, and saves what it recorded.

        Raises:
            ExportError: torch.jit refuses the graph, or baked in the batch that it shall keep free.
        """
        self.remember(lowered)
        unroll_loops(lowered.graph)
        operators = aten_histogram(lowered.graph)
        graph = sealed(lowered.graph)
        graph.eval()
        traced_sizes(graph)
        graph.recompile()
        arguments = tuple(example[name] for name in lowered.inputs)
        with quiet(), torch.no_grad():
            try:
                traced = torch.jit.trace(graph, arguments, check_trace=False, strict=False)
                if axes:
                    _check_batches(traced, arguments)
                extra = {**metadata, "camport.outputs": json.dumps(lowered.outputs)}
                # by a path it would end the process where a write fails
                with path.open("wb") as file:
                    torch.jit.save(traced, file, _extra_files=extra)
            except (OSError, MemoryError):
                raise
            except Exception as error:  # torch.jit has no base class of its own
                last_line = (str(error).strip() or "no reason given").splitlines()[-1][:200]
                raise ExportError(
                    f"torch.jit refused the lowered graph: {type(error).__name__}: {last_line}"
                ) from error
        return Written(operators)


def _check_batches(traced: torch.jit.ScriptModule, arguments: tuple[Tensor, ...]) -> None:
    """Runs other batches than the traced one: a baked-in size fails,
    or gives results of the traced length."""
    whole = traced(*arguments)
    for batch in (1, 3):
        rows = torch.arange(batch) % len(arguments[0])
        results = traced(*(value[rows] for value in arguments))
        for result, expected in zip(results, whole, strict=True):
            expected = expected[rows]
            if (
                result.shape != expected.shape
                or (result - expected).norm() > 0.01 * expected.norm()
            ):
                raise ExportError("the batch is a number in the traced graph")
