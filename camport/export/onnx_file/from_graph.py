"""From a lowered graph to an ONNX model."""

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx_ir as ir
import torch
from onnx_ir.passes.common import ClearMetadataAndDocStringPass, OutputFixPass
from torch import Tensor

from camport.errors import ExportError, reasons
from camport.export.atomic_file import data_file
from camport.export.capture.capture import Captured, DynamicAxes
from camport.export.failure_location import failing_node, locate_node
from camport.export.onnx_file import translations
from camport.export.onnx_file.loop_kernels import own_kernels
from camport.export.onnx_file.operator_registry import kept_registry
from camport.export.onnx_file.square_matrices import part_square_matrices
from camport.export.onnx_file.tiny_constants import exact_constants
from camport.export.quiet import quiet
from camport.export.rewrite.scan import loops_to_scans

OPSET = 20
OPSETS = range(18, 24)
"""Versions of the standard operators that can be asked for: below 18 torch.onnx has no forms, and
23 is the newest that it knows."""

LARGEST = 1_900_000_000
"""Bytes of weights that stay in the file itself; protobuf ends at 2 GB."""


def to_model(
    lowered: Captured,
    inputs: Mapping[str, Tensor],
    axes: DynamicAxes,
    metadata: Mapping[str, str],
    opset: int = OPSET,
) -> Any:
    """An onnx_ir model: inputs, outputs and dynamic axes under their public names,
    `metadata` as properties.

    Args:
        lowered: a graph of forward operators alone.
        inputs: examples; their dynamic axes must be longer than 1.
        axes: the dynamic axes, as at capture.
        metadata: written into the file.
        opset: version of the standard operator set.

    Raises:
        ExportError: if torch.onnx refuses the graph.
    """
    loops_to_scans(lowered.graph)
    free = torch.export.Dim.DYNAMIC
    shapes = tuple(dict.fromkeys(axes.get(name, {}), free) for name in lowered.inputs)
    arguments = tuple(inputs[name] for name in lowered.inputs)
    with quiet():
        try:
            program = torch.export.export(
                lowered.graph, arguments, dynamic_shapes=shapes, strict=False
            )
            with kept_registry():
                exported = torch.onnx.export(
                    program,
                    input_names=lowered.inputs,
                    output_names=lowered.outputs,
                    custom_translation_table=translations.table(opset),
                    opset_version=opset,
                    dynamo=True,
                    verbose=False,
                    optimize=False,
                )
            if exported is None:
                raise ExportError("torch.onnx gave no model")
            with exact_constants():
                exported.optimize()
        except Exception as error:
            failure = ExportError(f"torch.onnx refused the lowered graph: {_first_line(error)}")
            # of torch.onnx's own graph, whose nodes are called as in the lowered one
            at = failing_node(error)
            for node in lowered.graph.graph.nodes:
                if at is not None and (node.name, node.target) == (at.name, at.target):
                    locate_node(failure, node)
            raise failure from error
    model = exported.model
    # a detector's features may be the layer's feature maps: each output becomes a value of its own
    ir.passes.Sequential(OutputFixPass(), ClearMetadataAndDocStringPass())(model)
    for value, name in zip(
        (*model.graph.inputs, *model.graph.outputs),
        (*lowered.inputs, *lowered.outputs),
        strict=True,
    ):
        value.name = name
    part_square_matrices(model)
    own_kernels(model)
    _name_axes(model, axes)
    model.producer_name, model.producer_version = "camport", metadata.get("camport.version", "")
    model.metadata_props.clear()
    model.metadata_props.update(metadata)
    return model


def check_opset(opset: int) -> None:
    """Refuses a version that cannot be written, before anything long starts."""
    if opset not in OPSETS:
        raise ExportError(
            f"opset is {opset}; it can be {OPSETS.start} to {OPSETS[-1]}, and {OPSET} if left out"
        )


def save(model: Any, path: Path) -> None:
    """Writes `model` to `path`; weights above `LARGEST` go to `path` + ".data"."""
    size = sum(value.const_value.nbytes for value in model.graph.initializers.values())
    if size <= LARGEST:
        ir.save(model, path)
    else:
        ir.save(model, path, external_data=data_file(path).name)


def histogram(model: Any) -> dict[str, int]:
    """How often each operator occurs, the most frequent first."""
    return dict(Counter(node.op_type for node in model.graph).most_common())


def _name_axes(model: Any, axes: DynamicAxes) -> None:
    """Gives symbolic axes their public names, in inputs, outputs and values between."""
    names: dict[str, str] = {}
    for value in model.graph.inputs:
        for axis, label in axes.get(value.name, {}).items():
            symbol = getattr(value.shape[axis], "value", None)
            if isinstance(symbol, str):
                names[symbol] = label
    if not names:
        return
    pattern = re.compile(r"\b(" + "|".join(map(re.escape, names)) + r")\b")

    def renamed(dim: Any) -> Any:
        text = getattr(dim, "value", None)
        return pattern.sub(lambda match: names[match[0]], text) if isinstance(text, str) else dim

    values = [*model.graph.inputs]
    for node in model.graph:
        values += node.outputs
    for value in values:
        value.metadata_props.clear()
        if value.shape is not None:
            value.shape = type(value.shape)([renamed(dim) for dim in value.shape])


def _first_line(error: BaseException) -> str:
    """The innermost cause in one line: torch.onnx wraps it in pages."""
    *_, error = reasons(error, handled=False)
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"
