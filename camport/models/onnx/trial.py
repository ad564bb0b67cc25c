"""Running a model without computing: on torch's meta device only sizes and types flow."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from camport.core.isolation.private_copy import replicate
from camport.core.running.recorder import Ran, Recorder
from camport.errors import ModelError
from camport.models.onnx.model import OnnxModel
from camport.models.onnx.types import torch_dtype

LARGEST = 2**31
"""Elements of one activation of one image; more is no network that could be run."""


def trial(
    model: OnnxModel, batch: int | None = None, note: Callable[[str, Any, Any], None] | None = None
) -> list[tuple[int, ...]] | None:
    """The sizes of the outputs for `batch` images;
    None where the file leaves sizes free or values decide them.

    Without `batch` each input has the first size that the file gives it, or 1. `note` is told of
    each node that ran: its name, what it was given and what it put out.

    Raises:
        ModelError: a node does not fit its inputs, or makes a tensor beyond all measure.
    """
    inputs = []
    for port in model.plan.inputs:
        if None in port.sizes[1:]:
            return None
        dtype = torch_dtype(port.type)
        sizes = (
            [batch or port.sizes[0] or 1, *(n for n in port.sizes[1:] if n is not None)]
            if port.sizes
            else []
        )
        if model.plan.channels_last and len(sizes) == 4:
            sizes = [sizes[0], sizes[3], sizes[1], sizes[2]]
        inputs.append(torch.empty(sizes, dtype=dtype, device="meta"))
    double = replicate(model, lambda _, tensor, read: tensor.detach().to("meta"))

    def ended(ran: Ran) -> None:
        if note:
            note(ran.name, ran.args, ran.output)
        for tensor in tree_leaves(ran.output):
            if isinstance(tensor, Tensor) and tensor.numel() > LARGEST:
                raise ModelError(
                    f"{model.plan.name}: {ran.name} ({type(ran.module).__name__}) makes a tensor of"
                    f" {tuple(tensor.shape)}, too large to be meant"
                )

    try:
        with Recorder(double, ended), torch.no_grad(), torch.device("meta"):
            outputs = double(*inputs)
    except ModelError as error:
        cause = error.__cause__
        if isinstance(cause, NotImplementedError) or "meta" in str(cause):
            return None
        raise
    return [tuple(v.shape) for v in tree_leaves(outputs) if isinstance(v, Tensor)]
