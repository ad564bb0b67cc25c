"""Exporting to ONNX."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule

from camport.errors import ExportError, MissingDependencyError
from camport.export import onnx as onnx_format
from camport.export.capture import Captured, DynamicAxes
from camport.export.lint import lint
from camport.export.program_file import Exportable, Written, check_dynamic, checked_target, export_program
from camport.export.report import ExportReport
from camport.export.rules import RULES
from camport.export.supported import check_supported


def to_onnx(bound: Exportable, path: str | os.PathLike[str], images: Tensor, *, dynamic: str = "batch") -> ExportReport:
    """Writes prediction, gradient and heatmap as one ONNX file and proves it equal to eager PyTorch.

    Args:
        bound: what `camport.bind` returns.
        path: the file to write; its directory must exist. Nothing is left there if the export fails.
        images: [b,c,H,W], one example batch.
        dynamic: "batch", or "batch+size" where height and width shall stay free too.

    Raises:
        OutputError: the file cannot be written there.
        ExportError: the model cannot be captured, lowered or written in standard operators.
        ParityError: the file does not reproduce eager PyTorch.
    """
    target = checked_target(path)
    check_dynamic(dynamic)
    program = bound.program(images)
    return export_program(program, target, images, bound.metadata(images), Onnx(), dynamic=dynamic)


class Onnx:
    """ONNX files of standard operators, checked in ONNX Runtime."""

    name = "ONNX"
    rules = RULES

    def check(self, graph: GraphModule) -> None:
        """Every operator must have an ONNX form."""
        check_supported(graph)

    def write(
        self,
        lowered: Captured,
        example: Mapping[str, Tensor],
        axes: DynamicAxes,
        metadata: Mapping[str, str],
        path: Path,
    ) -> Written:
        """Translates, saves and lints."""
        model = onnx_format.to_model(lowered, example, axes, metadata)
        onnx_format.save(model, path)
        lint(path)
        return Written(onnx_format.histogram(model), onnx_format.OPSET)

    def run(self, path: Path, samples: Sequence[Mapping[str, Tensor]]) -> list[Mapping[str, Tensor]]:
        """In one session of ONNX Runtime."""
        run = runner(path)
        return [run(inputs) for inputs in samples]


def runner(path: Path) -> Callable[[Mapping[str, Tensor]], dict[str, Tensor]]:
    """The file at `path` as a function of named tensors, in ONNX Runtime on the CPU."""
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingDependencyError('checking an export needs ONNX Runtime: pip install "camport[cpu]"') from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session: Any = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions share no base class of their own
        raise ExportError(f"ONNX Runtime cannot load the exported graph: {error}") from error
    names = [output.name for output in session.get_outputs()]
    wanted = [value.name for value in session.get_inputs()]

    def run(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        results = session.run(names, {name: inputs[name].numpy() for name in wanted})
        return {name: torch.from_numpy(value) for name, value in zip(names, results, strict=True)}

    return run
