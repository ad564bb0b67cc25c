"""ONNX Runtime on the CPU, which judges ONNX files."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from camport.errors import ExportError, MissingDependencyError


def session(model: Path | bytes, constants: Mapping[str, np.ndarray] | None = None) -> Any:
    """A silent session of a file, or of a model in bytes;
    `constants` stand in place of those of the same name in it.

    Raises:
        MissingDependencyError: ONNX Runtime is not installed.
        ExportError: it refuses the graph.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingDependencyError(
            'checking an export needs ONNX Runtime: pip install "camport[cpu]"'
        ) from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    values = {
        name: onnxruntime.OrtValue.ortvalue_from_numpy(value)
        for name, value in (constants or {}).items()
    }
    for name, value in values.items():
        options.add_initializer(name, value)
    try:
        given = str(model) if isinstance(model, Path) else model
        return onnxruntime.InferenceSession(given, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions share no base class of their own
        raise ExportError(f"ONNX Runtime cannot load the exported graph: {error}") from error


def runner(path: Path) -> Callable[[Mapping[str, Tensor]], dict[str, Tensor]]:
    """The file at `path` as a function of named tensors."""
    opened = session(path)
    names = [output.name for output in opened.get_outputs()]
    wanted = [value.name for value in opened.get_inputs()]

    def run(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        results = opened.run(names, {name: inputs[name].numpy() for name in wanted})
        return {name: torch.from_numpy(value) for name, value in zip(names, results, strict=True)}

    return run
