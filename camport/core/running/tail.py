"""Running only what lies behind a layer: modules that ran before it give back what they gave the first time.

This needs no graph of the model and stays right where values bypass the layer: they come from the recording. A model
that leaves tensors in attributes, in its forward or by hooks, is run as a whole: modules that do not run leave none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from camport.core.isolation.held import held, leaves_tensors
from camport.core.isolation.private_copy import hook, pre_hook
from camport.core.maps.loop import traced
from camport.core.running.layers import LayerName
from camport.core.running.recorder import first_tensor, replace_first_tensor
from camport.core.running.scripted import visible_modules
from camport.errors import CamportError


@dataclass(frozen=True)
class Recorded:
    """What one forward pass tells of a run of a layer.

    Attributes:
        ended: name and copied output of each module that ended before the run began, in the order of their ends; of
            modules within one another the outermost.
        output: what the layer put out.
        written: of these modules' outputs, the name and the number of the run, and of the images, ("", 0), those into
            which the model writes.
        kept: whether the pass left tensors in the model, so that it is to be run as a whole.
    """

    ended: Sequence[tuple[str, Any]]
    output: Any
    written: Set[tuple[str, int]]
    kept: bool = False


class Ended:
    """What a module put out when it ended, with a copy of it.

    Args:
        name: of the module.
        output: what it put out; the model may write into it later.
        copy: whether it is copied at once, or when it is kept: most are let go before, as parts of a module that ended.

    Raises:
        Overwritten: when it is kept, if it was written into before.
    """

    def __init__(self, name: str, output: Any, copy: bool = True) -> None:
        self.name, self.output, self.versions = name, output, versions(output)
        self.copy: Any = copied(output) if copy else None

    def kept(self) -> Ended:
        """This, with its copy."""
        if self.copy is None:
            if self.written:
                raise Overwritten
            self.copy = copied(self.output)
        return self

    def excuse(self, before: Sequence[int]) -> None:
        """Forgets what the next module wrote into this output, as an in-place ReLU does: that will not run again.

        Args:
            before: the versions when that module began.
        """
        if self.copy is not None and list(before) == self.versions:
            self.versions = versions(self.output)

    @property
    def written(self) -> bool:
        """Whether the model has written into the output since."""
        return versions(self.output) != self.versions


class Overwritten(CamportError):  # passes by what calls a model, as an error of its own does not
    """What a module put out was written into before it was copied."""


def recorded(ended: Sequence[Ended], output: Any, images: Tensor) -> Recorded:
    """What a pass tells that has come to its end; `images` are those that the model was given, and nobody else has."""
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
        self.double, self.layer, self.call, self.images, self.target = double, layer, call, images, target
        self.cached: dict[str, list[Any]] = {}
        known = known or self._record()
        self.output, self.written, self.kept = known.output, known.written, known.kept
        for name, output in known.ended:
            self.cached.setdefault(name, []).append(output)

    def __call__(self, activations: Tensor, m: int) -> Any:
        """The model's outputs where the layer puts out `activations` [m*b,...], in the layer's own layout.

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
        cached = [((name, i), out) for name, outs in self.cached.items() for i, out in enumerate(outs)]
        handed = {key: unharmed(key, out) for key, out in cached}
        images = unharmed(("", 0), self.images)
        stubs = {name: [handed[name, i] for i in range(len(outs))] for name, outs in self.cached.items()}
        replaced = replace_first_tensor(tree_map(repeated, self.output), activations)
        stubs.setdefault(self.layer.module, []).append(replaced)
        stubbed, handles = [], []
        try:
            target = self.double.get_submodule(self.layer.module)
            if target._forward_hooks:  # the user's, which have changed these activations already
                given = _Given(len(stubs[self.layer.module]) - 1, activations.clone())
                handles.append(target.register_forward_hook(given))
            for name, outs in stubs.items():
                module = self.double.get_submodule(name)
                stubbed.append((module, module.__dict__.get("forward")))
                module.__dict__["forward"] = _Stub(outs, module.forward)
            return self.call(self.double, images, {k: repeated(v) for k, v in self.target.items()})
        finally:
            for handle in handles:
                handle.remove()
            for module, forward in stubbed:
                if forward is None:
                    del module.__dict__["forward"]
                else:
                    module.__dict__["forward"] = forward

    def _whole(self, activations: Tensor, images: Tensor, target: Mapping[str, Tensor]) -> Any:
        """The outputs of a run of the whole model in which the layer puts out `activations`."""
        module, run = self.double.get_submodule(self.layer.module), self.layer.run or 0
        # the user's hooks keep the first; what they made of an output has been made of these activations already
        handles = [hook(module, _Given(run, activations))]
        if len(module._forward_hooks) > 1:
            handles.append(module.register_forward_hook(_Given(run, activations)))
        try:
            return self.call(self.double, images, target)
        finally:
            for handle in handles:
                handle.remove()

    def _record(self) -> Recorded:
        before = held(self.double)
        known = self._followed()
        return replace(known, kept=leaves_tensors(before, held(self.double)))

    def _followed(self) -> Recorded:
        ended: list[Ended] = []
        images = self.images.clone()
        starts: list[tuple[int, list[int]]] = []  # how many runs had ended when each of those now open began
        calls: dict[str, Any] = {"n": 0, "done": False, "output": None}
        handles = []

        def before(module: nn.Module, args: Any) -> None:
            starts.append((len(ended), versions(ended[-1].output) if ended else []))

        def after(name: str) -> Callable[[nn.Module, Any, Any], None]:
            def end(module: nn.Module, args: Any, output: Any) -> None:
                start, seen = starts.pop()
                if calls["done"]:
                    return
                if start:
                    ended[start - 1].excuse(seen)
                if name == self.layer.module:
                    if calls["n"] == self.layer.run:
                        calls.update(output=copied(output), done=True)
                        del ended[start:]
                        return
                    calls["n"] += 1
                del ended[start:]
                ended.append(Ended(name, output))

            return end

        try:
            for name, module in visible_modules(self.double):
                if name:
                    handles.append(pre_hook(module, before))
                    handles.append(hook(module, after(name)))
            with torch.no_grad():
                self.call(self.double, images, self.target)
        finally:
            for handle in handles:
                handle.remove()
        return recorded(ended, calls["output"], images)


class _Given:
    """A forward hook that writes a tensor into what one run puts out, or puts it in its place."""

    def __init__(self, run: int, tensor: Tensor) -> None:
        self.left, self.tensor = run, tensor

    def __call__(self, module: nn.Module, args: Any, output: Any) -> Any:
        self.left -= 1
        if self.left != -1:
            return None
        tensor = first_tensor(output)
        if tensor is not None and tensor.is_contiguous() and not any(tensor is part for part in tree_leaves(args)):
            tensor.copy_(self.tensor)  # a module within may keep this very tensor
            return None
        return replace_first_tensor(output, self.tensor.clone())


class _Stub:
    """A module's forward that first gives back recorded outputs, then runs for real."""

    def __init__(self, outputs: list[Any], forward: Callable[..., Any]) -> None:
        self.outputs, self.forward = list(outputs), forward

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.outputs:
            return self.outputs.pop(0)
        return self.forward(*args, **kwargs)


def versions(output: Any) -> list[int]:
    """How often each of the tensors in what a module put out was written into."""
    return [value._version for value in tree_leaves(output) if isinstance(value, Tensor)]


def copied(output: Any) -> Any:
    """What a module put out, as it was: an in-place operation behind the module would change it."""
    return tree_map(lambda value: value.detach().clone() if isinstance(value, Tensor) else value, output)
