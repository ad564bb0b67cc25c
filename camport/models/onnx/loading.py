"""An .onnx file as a model that camport can explain and export."""

import ast
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from camport.errors import InputError, ModelError
from camport.models.loaded import Loaded
from camport.models.onnx.batch import free_batch
from camport.models.onnx.builder import Builder
from camport.models.onnx.file import OnnxFile
from camport.models.onnx.model import OnnxModel
from camport.models.onnx.reading import read_file
from camport.models.onnx.trial import trial
from camport.runtime import Preprocess
from camport.runtime.metadata import parse_metadata


def load_onnx(path: str | Path, weights: Path | None = None) -> Loaded:
    """Rebuilds the network of a file as torch operations, with a module for each node.

    Args:
        path: an .onnx file of opset 7 or later, its external data beside it.
        weights: refused, since the file has its own.

    Raises:
        ModelError: no sound ONNX file, or operators that are not imported.
        InputError: weights were given.
        MissingDependencyError: onnx is not installed.
    """
    if weights is not None:
        raise InputError(f"an .onnx file has its own weights; leave {str(weights)!r} out")
    file = read_file(Path(path))
    metadata = parse_metadata(file.metadata, file.path.name)
    if "method" in metadata:
        raise ModelError(
            f"{file.path.name} is an explainer that camport exported, not a bare model: "
            "run it with `camport run` or camport.runtime.load"
        )
    model = _model(file).eval()
    preprocess = metadata.get("preprocess") or _preprocess(file, model)
    labels = metadata.get("labels") or _names(file.metadata.get("names", ""))
    if labels:
        model.num_classes = len(labels)  # what a detector's columns are, those of key points and masks beside them
    if not _is_yolo(file):
        return Loaded(model, preprocess, labels, model.target_layer)
    if "preprocess" not in metadata and preprocess.size is not None:
        preprocess = replace(preprocess, fit="letterbox")
    return Loaded(model, preprocess, labels, model.target_layer, "detection")


BOXES = ("detect", "segment", "pose", "obb")
"""Tasks of YOLO packages whose networks find boxes, whatever else they say of each."""


def _is_yolo(file: OnnxFile) -> bool:
    """Whether the file has the notes that YOLO packages leave in their exports: stride, names and, some, the task."""
    return {"stride", "names"} <= set(file.metadata) and file.metadata.get("task", "detect") in BOXES


def _model(file: OnnxFile) -> OnnxModel:
    """The model, tried out; where the file names one batch size, any size if that can be shown to work."""
    model = Builder(file).build()
    ranks: dict[str, int] = {}

    def note(name: str, args: Any, output: Any) -> None:
        ranks[name] = output.dim() if isinstance(output, Tensor) else 0

    trial(model, note=note)
    if model.target_layer and ranks.get(model.target_layer, 3) != 3:
        model.target_layer = None  # windows of maps, not a row of tokens
    sizes = file.inputs[0].sizes if file.inputs else ()
    batch = sizes[0] if sizes else None
    if batch is not None and not free_batch(model, batch):
        model.plan = replace(model.plan, batch=batch)
    return model


def _preprocess(file: OnnxFile, model: OnnxModel) -> Preprocess:
    if not file.inputs or len(file.inputs[0].sizes) != 4:
        return Preprocess()
    port = file.inputs[0]
    height, width = port.sizes[1:3] if model.plan.channels_last else port.sizes[2:4]
    size = None if height is None or width is None else (height, width)
    floats = port.type in (1, 10, 11, 16)
    return Preprocess(size=size) if floats else Preprocess(size=size, scale=1.0)


def _names(text: str) -> tuple[str, ...]:
    """Labels as some detectors write them: "{0: 'person', 1: 'bicycle'}"."""
    try:
        found = ast.literal_eval(text) if len(text) < 1_000_000 else None
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return ()
    if isinstance(found, dict) and sorted(found) == list(range(len(found))):
        return tuple(str(found[i]) for i in range(len(found)))
    return ()
