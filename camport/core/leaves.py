"""Taking a layer's output out of a forward pass, as a leaf at which the backward pass ends."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from camport.core.layers import LayerName, first_tensor, replace_first_tensor
from camport.errors import LayerError


def leaf_taker(layer: LayerName, tensors: list[Tensor], records: bool) -> Callable[[nn.Module, Any, Any], Any]:
    """A forward hook that appends the layer's output to `tensors`; where gradients are recorded, as a leaf."""

    def take(module: nn.Module, args: Any, output: Any) -> Any:
        tensor = first_tensor(output)
        if tensor is None:
            raise LayerError(f"layer {str(layer)!r} ({type(module).__name__}) puts out no floating-point tensor")
        if not records:
            tensors.append(tensor.clone() if layer.run is None or layer.run == len(tensors) else tensor)
            return None
        leaf = tensor if tensor.requires_grad else tensor.detach().requires_grad_()
        tensors.append(leaf)
        # the clone keeps an in-place operation behind the layer from changing the activations
        return replace_first_tensor(output, leaf.clone())

    return take


def run_of(layer: LayerName, tensors: list[Tensor]) -> Tensor:
    """The output of the run that the layer's name says, of all runs; the last where it says none."""
    if not tensors:
        raise LayerError(f"layer {str(layer)!r} did not run in the forward pass; choose one that does")
    run = -1 if layer.run is None else layer.run
    if not -len(tensors) <= run < len(tensors):
        raise LayerError(
            f"layer {layer.module!r} ran {len(tensors)} times in the forward pass; run {run} does not exist"
        )
    return tensors[run]
