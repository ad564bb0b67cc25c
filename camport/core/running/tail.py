"""Running only what lies behind a layer: modules that ran before it give back what they gave the
first time.

This needs no graph of the model and stays right where values bypass the layer: they come from the
recording. A model that leaves tensors in attributes, in its forward or by hooks, is run as a whole:
modules that do not run leave none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from camport.core.isolation.held import held, leaves_tensors
from camport.core.maps.loop import traced
from camport.core.running.layers import LayerName
from camport.core.running.recorder import (
    Ended,
    Outermost,
    Ran,
    Recorder,
    copied,
    first_tensor,
    replace_first_tensor,
)


@dataclass(frozen=True)
class Recorded:
    """What one forward pass tells of a run of a layer.

    Attributes:
        ended: name and copied output of each module that ended before the run began, in the order
            of their ends; of modules within one another the outermost.
        output: what the layer put out.
        written: of these modules' outputs, the name and the number of the run, and of the images,
            ("", 0), those into which the model writes.
        kept: whether the pass left tensors in the model, so that it is to be run as a whole.
    """

    ended: Sequence[tuple[str, Any]]
    output: Any
    written: Set[tuple[str, int]]
    kept: bool = False


def recorded(ended: Sequence[Ended], output: Any, images: Tensor) -> Recorded:
    """What a pass tells that has come to its end; `images` are those that the model was given, and
    nobody else has."""
    times: dict[str, int] = {}
    written = {("", 0)} if images._version else set()
    for one in ended:
        run = times[one.name] = times.get(one.name, -1) + 1
        if one.written:
            written.add((one.name, run))
    return Recorded([(one.name, one.copy) for one in ended], output, written)


class Tail:
    """What a model computes behind one run of one module, for a few images.

    Args:
        double: a private double of the model (`camport.core.isolation.private_copy`).
        layer: the module and the index of its run.
        call: `call(double, images, target)` calls the model.
        images: [b,c,H,W].
        target: of these images.
        known: what a forward pass has told already; left out, one is made.
    """

    def __init__(
        self,
        double: nn.Module,
        layer: LayerName,
        call: Callable[[nn.Module, Tensor, Mapping[str, Tensor]], Any],
        images: Tensor,
        target: Mapping[str, Tensor],
        known: Recorded | None = None,
    ) -> None:
        self.double, self.layer, self.call, self.images, self.target = (
            double,
            layer,
            call,
            images,
            target,
        )
        self.cached: dict[str, list[Any]] = {}
        known = known or self._record()
        self.output, self.written, self.kept = known.output, known.written, known.kept
        for name, output in known.ended:
            self.cached.setdefault(name, []).append(output)

    def __call__(self, activations: Tensor, m: int) -> Any:
        """The model's outputs where the layer puts out `activations` [m*b,...], in the layer's own
        layout.

        The model may write into these activations.
        """
        b = self.images.shape[0]

        def repeated(value: Any) -> Any:
            if isinstance(value, Tensor) and value.dim() and value.shape[0] == b:
                return value.expand(m, *value.shape).flatten(0, 1)  # without copying where b is 1
            return value

        def unharmed(key: tuple[str, int], value: Any) -> Any:
            value = tree_map(repeated, value)
            return copied(value) if traced() or key in self.written else value

        if self.kept:
            wanted = {k: repeated(v) for k, v in self.target.items()}
            return self._whole(activations, repeated(self.images).clone(), wanted)
        cached = [
            ((name, i), out) for name, outs in self.cached.items() for i, out in enumerate(outs)
        ]
        handed = {key: unharmed(key, out) for key, out in cached}
        images = unharmed(("", 0), self.images)
        stubs = {
            name: [handed[name, i] for i in range(len(outs))] for name, outs in self.cached.items()
        }
        replaced = replace_first_tensor(tree_map(repeated, self.output), activations)
        stubs.setdefault(self.layer.module, []).append(replaced)
        own, last = self.double.get_submodule(self.layer.module), len(stubs[self.layer.module]) - 1
        # the user's hooks have changed these activations already
        put = _Put(last, activations.clone()) if own._forward_hooks else None
        behind = (
            Recorder(self.double, modules=[self.layer.module], behind=put) if put else nullcontext()
        )
        stubbed = []
        try:
            for name, outs in stubs.items():
                module = self.double.get_submodule(name)
                stubbed.append((module, module.__dict__.get("forward")))
                module.__dict__["forward"] = _Stub(outs, module.forward)
            with behind:
                return self.call(
                    self.double, images, {k: repeated(v) for k, v in self.target.items()}
                )
        finally:
            for module, forward in stubbed:
                if forward is None:
                    del module.__dict__["forward"]
                else:
                    module.__dict__["forward"] = forward

    def _whole(self, activations: Tensor, images: Tensor, target: Mapping[str, Tensor]) -> Any:
        """The outputs of a run of the whole model in which the layer puts out `activations`."""
        put = _Put(self.layer.run or 0, activations)
        # the user's hooks keep the first; what they made of an output has been made of these
        # activations already
        with Recorder(self.double, put, modules=[self.layer.module], behind=put):
            return self.call(self.double, images, target)

    def _record(self) -> Recorded:
        before = held(self.double)
        known = self._followed()
        return replace(known, kept=leaves_tensors(before, held(self.double)))

    def _followed(self) -> Recorded:
        outermost, images = Outermost(), self.images.clone()
        found: list[Any] = []

        def ended(ran: Ran) -> None:
            if found:
                return
            last = (ran.name, ran.index) == (self.layer.module, self.layer.run)
            outermost.end(ran, ran.begun, keep=not last)
            if last:
                found.append(copied(ran.output))

        with Recorder(self.double, ended, lambda module, args: outermost.begun()), torch.no_grad():
            self.call(self.double, images, self.target)
        return recorded(outermost.ended, found[0] if found else None, images)


class _Put:
    """Writes a tensor into what one run puts out, or puts it in its place."""

    def __init__(self, run: int, tensor: Tensor) -> None:
        self.run, self.tensor = run, tensor

    def __call__(self, ran: Ran) -> Any:
        if ran.index != self.run:
            return None
        tensor = first_tensor(ran.output)
        if (
            tensor is not None
            and tensor.is_contiguous()
            and not any(tensor is part for part in tree_leaves(ran.args))
        ):
            tensor.copy_(self.tensor)  # a module within may keep this very tensor
            return None
        return replace_first_tensor(ran.output, self.tensor.clone())


class _Stub:
    """A module's forward that first gives back recorded outputs, then runs for real."""

    def __init__(self, outputs: list[Any], forward: Callable[..., Any]) -> None:
        self.outputs, self.forward = list(outputs), forward

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.outputs:
            return self.outputs.pop(0)
        return self.forward(*args, **kwargs)
