"""An .onnx file as a model that camport can explain and export."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from camport.errors import InputError, ModelError, guarded
from camport.models.loaded import Loaded
from camport.models.onnx import pictures
from camport.models.onnx.batch import free_batch
from camport.models.onnx.builder import Builder
from camport.models.onnx.file import OnnxFile
from camport.models.onnx.given import fixed
from camport.models.onnx.model import OnnxModel
from camport.models.onnx.qlinear import in_real_numbers
from camport.models.onnx.reading import read_file
from camport.models.onnx.trial import trial
from camport.models.onnx.widen import half_type, widened
from camport.runtime.metadata import parse_metadata


def load_onnx(
    path: str | Path,
    weights: Path | None = None,
    *,
    image: str | None = None,
    inputs: Mapping[str, Any] | None = None,
) -> Loaded:
    """Rebuilds the network of a file as torch operations, with a module for each node.

    Args:
        path: an .onnx file of opset 7 or later, its external data beside it.
        weights: refused, since the file has its own.
        image: the name of the input that takes the images, where there are several.
        inputs: values of the other inputs by name, e.g. {"im_scale": [1, 1]}; one row holds for
            every image.

    Raises:
        ModelError: no sound ONNX file, or operators that are not imported.
        InputError: weights were given, or values that do not fit the file's inputs.
        UnknownNameError: an input that the file does not have.
        MissingDependencyError: onnx is not installed.
    """
    if weights is not None:
        raise InputError(f"an .onnx file has its own weights; leave {str(weights)!r} out")
    with guarded(
        f"model {path} cannot be read", ModelError, remedy="it is damaged, export or copy it again"
    ):
        return _loaded(Path(path), image, inputs)


def _loaded(path: Path, image: str | None, inputs: Mapping[str, Any] | None) -> Loaded:
    file = read_file(path)
    metadata = parse_metadata(file.metadata, file.path.name)
    if "method" in metadata:
        raise ModelError(
            f"{file.path.name} is an explainer that camport exported, not a bare model: "
            "run it with `camport run` or camport.runtime.load"
        )
    file, notes = fixed(in_real_numbers(file), inputs or {}, image), []
    if half := half_type(file):
        file = widened(file)
        notes.append(
            f"{file.path.name} is in {half}; it is computed in float32, and files written of it are"
            " float32"
        )
    model = _model(file).eval()
    task = pictures.yolo_task(file)
    stated = metadata.get("preprocess")
    labels = metadata.get("labels") or pictures.labels(file)
    if labels:
        # what a detector's columns are, those of key points and masks beside them
        model.num_classes = len(labels)
    return Loaded(
        model,
        stated or pictures.preprocess(file),
        labels,
        model.target_layer,
        "detection" if task in pictures.BOXES else "classification",
        guessed=stated is None and task is None,
        notes=tuple(notes),
    )


def _model(file: OnnxFile) -> OnnxModel:
    """The model, tried out; where the file names one batch size,
    any size if that can be shown to work."""
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
