"""A node as a module: it can be hooked, listed and named like any layer."""

from typing import Any

import torch
from torch import Tensor, nn

from camport.models.onnx.call import Call


class Node(nn.Module):
    """One node that computes tensors. Its class, made for its operator, tells listings what it is.

    Args:
        call: what it computes.
        held: its constants by parameter name; an nn.Parameter may belong to several nodes.
        facts: what PyTorch's layers tell about themselves: channels, kernel, stride.

    Attributes:
        moves_features: it only moves features about, so that it is no layer to explain unless it is
            named.
    """

    moves_features = False

    def __init__(self, call: Call, held: dict[str, Tensor], facts: dict[str, Any]) -> None:
        super().__init__()
        self.call = call
        for name, tensor in held.items():
            if isinstance(tensor, nn.Parameter):
                self.register_parameter(name, tensor)
            else:
                self.register_buffer(name, tensor)
        for name, fact in facts.items():
            setattr(self, name, fact)

    def forward(self, *live: Any) -> Any:
        """The node's output, or a tuple of them."""
        return self.call(live, self._held, self._device(live))

    @property
    def not_exportable_because(self) -> str | None:
        """Why no exported file can hold it; None where one can."""
        return getattr(self.call.operator.function, "not_exportable_because", None)

    def extra_repr(self) -> str:
        """The attributes."""
        return ", ".join(f"{k}={v}" for k, v in self.call.attributes.items())

    def _held(self, name: str) -> Tensor:
        return getattr(self, name)

    def _device(self, live: Any) -> torch.device:
        tensors = (
            v
            for v in (*live, *self._parameters.values(), *self._buffers.values())
            if isinstance(v, Tensor)
        )
        return next(tensors).device


def facts_of(op: str, held: dict[str, Tensor], attributes: dict[str, Any]) -> dict[str, Any]:
    """What can be said of a node whose weights are known."""
    weight = held.get("weight")
    if weight is None:
        return {}
    if op == "Conv" and weight.dim() > 2:
        axes = weight.dim() - 2
        return {
            "in_channels": weight.shape[1] * attributes.get("group", 1),
            "out_channels": weight.shape[0],
            "kernel_size": tuple(weight.shape[2:]),
            "stride": tuple(attributes.get("strides") or (1,) * axes),
        }
    if op == "BatchNormalization":
        return {"num_features": weight.shape[0]}
    if op == "Gemm":
        return {"out_features": weight.shape[0 if attributes.get("transB") else 1]}
    return {"out_features": weight.shape[-1]} if op in ("MatMul", "LayerNormalization") else {}
