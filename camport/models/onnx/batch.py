"""Files exported for one batch size, made to run at any where the size stands in shapes alone."""

from torch import Tensor

from camport.errors import ModelError
from camport.models.onnx.builder import Builder
from camport.models.onnx.file import OnnxFile
from camport.models.onnx.model import OnnxModel
from camport.models.onnx.small import Small
from camport.models.onnx.trial import trial


def free_batch(file: OnnxFile, batch: int) -> OnnxModel | None:
    """The model with the batch taken from its inputs; None where that cannot be shown to be right.

    A Reshape to [N, ...] of a tensor [N, ...] keeps the first axis instead. Whether that was all is tried at other
    sizes: every output must follow.
    """
    rows: dict[str, Small] = {}
    stored = dict(file.constants)
    for node in file.nodes:
        if node.op == "Constant" and isinstance(node.attributes.get("value"), Tensor):
            stored[node.outputs[0]] = node.attributes["value"]
        if node.op != "Reshape":
            continue
        shape = stored.get(node.inputs[1])
        given = file.shapes.get(node.inputs[0])
        if shape is None or not given or given[0] != batch or shape.dim() != 1 or shape.numel() < 1:
            continue
        if int(shape[0]) == batch and not (shape == 0).any():
            rows[node.outputs[0]] = Small.of([0, *shape[1:].tolist()])
    try:
        model = Builder(file, rows).build()
        tried = [(n, trial(model, n)) for n in (batch + 1, batch + 4)]
    except ModelError:
        return None
    for n, shapes in tried:
        if not shapes or any(not shape or shape[0] != n for shape in shapes):
            return None
    return model
