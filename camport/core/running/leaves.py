"""Taking a layer's output out of a forward pass, as a leaf at which the backward pass ends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from camport.core.running.layers import LayerName
from camport.core.running.recorder import Ran, Recorder, first_tensor, replace_first_tensor
from camport.errors import LayerError


class Leaf:
    """What each run of a layer puts out in a forward pass of a double; where gradients are
    recorded, as a leaf.

    The user's own hooks come behind camport's, so that what they keep is on the way from the leaf
    to the score. A hook that puts out something else makes that the layer's output. So is what a
    module within keeps of this output, as an attribute or by a hook of its own: it is the very
    tensor that becomes the leaf.

    Args:
        layer: the module and its run.
        double: a private double of the model.
        records: whether gradients are recorded.
    """

    def __init__(self, layer: LayerName, double: nn.Module, records: bool) -> None:
        self.layer, self.records = layer, records
        self.tensors: list[Tensor] = []
        self._handed: list[tuple[Tensor, int]] = []
        self._again = bool(double.get_submodule(layer.module)._forward_hooks)

    def output(self) -> Tensor:
        """The output of the run that the layer's name says, of all runs; the last where it says
        none."""
        layer, tensors = self.layer, self.tensors
        if not tensors:
            raise LayerError(
                f"layer {str(layer)!r} did not run in the forward pass; choose one that does"
            )
        run = -1 if layer.run is None else layer.run
        if not -len(tensors) <= run < len(tensors):
            raise LayerError(
                f"layer {layer.module!r} ran {len(tensors)} times in the forward pass; run {run}"
                " does not exist"
            )
        return tensors[run]

    def taken(self, ran: Ran) -> Any:
        """Takes the output of a run."""
        new = self._leaf(ran)
        if self._again:
            tensor = first_tensor(ran.output if new is None else new)
            assert tensor is not None
            self._handed.append((tensor, tensor._version))
        return new

    def taken_again(self, ran: Ran) -> Any:
        """Takes what a hook of the user's has put in the output's place, or written into it."""
        tensor, version = self._handed.pop()
        if first_tensor(ran.output) is tensor and tensor._version == version:
            return None
        self.tensors.pop()
        return self._leaf(ran)

    def _leaf(self, ran: Ran) -> Any:
        """Keeps an output; gives the output that goes on, None where it is this one."""
        tensor = first_tensor(ran.output)
        if tensor is None:
            kind = type(ran.module).__name__
            raise LayerError(
                f"layer {str(self.layer)!r} ({kind}) puts out no floating-point tensor"
            )
        if not self.records:
            self.tensors.append(tensor.clone() if self.layer.run in (None, ran.index) else tensor)
            return None
        # a model that freezes a part by torch.no_grad() may use its output outside, where the
        # backward pass ends
        recording = nullcontext() if torch.is_grad_enabled() else torch.enable_grad()
        with torch.inference_mode(False) if torch.is_inference_mode_enabled() else recording:
            tensor = tensor.clone() if tensor.is_inference() else tensor
            leaf = tensor
            if not tensor.requires_grad:
                # handed on, as by an identity: who handed it over may use it elsewhere
                handed = any(tensor is part for part in tree_leaves(ran.args))
                leaf = (tensor.detach() if handed else tensor).requires_grad_()
            self.tensors.append(leaf)
            # the clone keeps an in-place operation behind the layer from changing the activations
            return replace_first_tensor(ran.output, leaf.clone())


@contextmanager
def leaves_at(
    layers: Sequence[LayerName], double: nn.Module, records: bool
) -> Iterator[list[Leaf]]:
    """The leaves at these layers, which take what runs while this is open."""
    with ExitStack() as opened:
        leaves = []
        # one by one: those of one module that come later are seen by its earlier ones as hooks
        for layer in layers:
            leaf = Leaf(layer, double, records)
            leaves.append(leaf)
            opened.enter_context(
                Recorder(double, leaf.taken, modules=[layer.module], behind=leaf.taken_again)
            )
        yield leaves
