"""Files exported for one batch size, made to run at any where the size stands in shapes alone."""

from dataclasses import replace
from typing import Any

from torch import Tensor

from camport.errors import ModelError
from camport.models.onnx.call import Slot
from camport.models.onnx.model import OnnxModel
from camport.models.onnx.node import Node
from camport.models.onnx.small import Small
from camport.models.onnx.trial import trial


def free_batch(model: OnnxModel, batch: int) -> bool:
    """Takes the batch of a model for `batch` images from its inputs;
    False where that cannot be shown to be right.

    A Reshape to [N, ...] of a tensor [N, ...] keeps the first axis instead. Whether that was all is
    tried at other
    sizes: every output must follow. If not, the model stays as it was.
    """
    before: dict[str, Any] = {}

    def note(name: str, args: Any, output: Any) -> None:
        call = _node(model, name).call
        shape = (
            call.slots[1].value if call.operator.name == "Reshape" and len(call.slots) > 1 else None
        )
        sizes = shape.values if shape is not None else []
        leads = isinstance(args[0], Tensor) and args[0].dim() and args[0].shape[0] == batch
        if leads and sizes and sizes[0] == batch and 0 not in sizes:
            before[name] = call

    trial(model, note=note)
    for name, call in before.items():
        # a 0 keeps the axis, which the attribute `allowzero` would forbid
        shape = Slot("known", value=Small.of([0, *call.slots[1].value.values[1:]]))
        _node(model, name).call = replace(call, slots=(call.slots[0], shape), attributes={})
    if all(_follows(model, n) for n in (batch + 1, batch + 4)):
        return True
    for name, call in before.items():
        _node(model, name).call = call
    return False


def _follows(model: OnnxModel, batch: int) -> bool:
    """Whether `batch` images give outputs of that many rows."""
    try:
        shapes = trial(model, batch)
    except ModelError:
        return False
    return bool(shapes) and all(shape and shape[0] == batch for shape in shapes or ())


def _node(model: OnnxModel, name: str) -> Node:
    found = model.get_submodule(name)
    assert isinstance(found, Node)
    return found
