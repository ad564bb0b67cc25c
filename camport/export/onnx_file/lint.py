"""What a portable file must not contain."""

from pathlib import Path

import onnx
from onnx import GraphProto, ModelProto, NodeProto

from camport.errors import ExportError

LARGEST_EXPANDED = 10_000
"""Elements of a constant that Expand may repeat: beyond, the engine would make copies of a
weight."""

RANDOM = (
    *("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"),
    *("Bernoulli", "Multinomial"),
)

OF_ANY_LENGTH = ("detections",)
"""Outputs with a row for each thing found, however many images there are."""


BATCH = "b"
"""The public name of the axis that every input and output begins with."""


ONCE = ("images", "outputs", "feature_maps")
"""What a file for one image takes and gives once for all targets: names begin like this."""


def lint(path: Path, batch: str | None = BATCH, *, one_image: bool = False) -> None:
    """Checks the file at `path`.

    Requires: outputs that carry the batch have it on their first axis; or a 1 there, in a file for
    `one_image`.

    Raises:
        ExportError: listing every finding: an operator outside the standard domain, a function, a
            training operator, one that draws random numbers, an Expand of a weight, a batch that
            became a number, or what onnx.checker says.
    """
    model = onnx.load(str(path), load_external_data=False)
    found = [
        *_domains(model),
        *_training(model),
        *_random(model.graph),
        *_expanded_weights(model),
        *([] if batch is None else _batch(model, batch, one_image)),
    ]
    try:
        onnx.checker.check_model(str(path), full_check=True)
    except Exception as error:  # onnx raises several unrelated classes here
        found.append(f"onnx.checker: {str(error).strip().splitlines()[0]}")
    if found:
        raise ExportError("the exported graph is not portable: " + "; ".join(found))


def _domains(model: ModelProto) -> list[str]:
    found = sorted({f"operator {n.domain}::{n.op_type}" for n in model.graph.node if n.domain})
    found += [f"domain {o.domain!r} is imported" for o in model.opset_import if o.domain]
    found += [f"function {f.domain}::{f.name}" for f in model.functions]
    return found


def _training(model: ModelProto) -> list[str]:
    found = ["training information"] if model.training_info else []
    for node in model.graph.node:
        training = any(a.name == "training_mode" and a.i for a in node.attribute)
        if training or (node.op_type == "Dropout" and len(node.input) > 2 and node.input[2]):
            found.append(f"{node.op_type} {node.name} in training mode")
    return found


def _random(graph: GraphProto) -> list[str]:
    """Operators that draw numbers: a seed is no help,
    since each engine goes on from where its last run ended."""
    found = [
        f"{node.op_type} {node.name} draws random numbers"
        for node in graph.node
        if node.op_type in RANDOM
    ]
    inner = (
        a.g for node in graph.node for a in node.attribute if a.type == onnx.AttributeProto.GRAPH
    )
    return found + [finding for part in inner for finding in _random(part)]


def _expanded_weights(model: ModelProto) -> list[str]:
    sizes: dict[str, int] = {}
    for tensor in model.graph.initializer:
        elements = 1
        for n in tensor.dims:
            elements *= n
        sizes[tensor.name] = elements
    through: dict[str, NodeProto] = {
        name: node
        for node in model.graph.node
        if node.op_type in ("Transpose", "Reshape", "Unsqueeze", "Squeeze", "Identity", "Cast")
        for name in node.output
    }

    def elements_of(name: str) -> int:
        while name in through:
            name = through[name].input[0]
        return sizes.get(name, 0)

    return [
        f"Expand {node.name} repeats a constant of {elements_of(node.input[0])} elements"
        for node in model.graph.node
        if node.op_type == "Expand" and elements_of(node.input[0]) > LARGEST_EXPANDED
    ]


def _batch(model: ModelProto, batch: str, one_image: bool) -> list[str]:
    found = []
    for value in [*model.graph.input, *model.graph.output]:
        if value.name in OF_ANY_LENGTH:
            continue
        dims = value.type.tensor_type.shape.dim
        if value.name.startswith("outputs") and any(dim.dim_param == batch for dim in dims):
            continue  # a model may have its batch elsewhere
        if one_image and value.name.startswith(ONCE) and dims and dims[0].dim_value == 1:
            continue
        if not dims or dims[0].dim_param != batch:
            seen = (dims[0].dim_param or dims[0].dim_value) if dims else "no axes"
            found.append(f"the first axis of {value.name!r} is {seen}, not the batch {batch!r}")
    return found
