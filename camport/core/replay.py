"""Running only what lies behind a layer: modules that ran before it give back what they gave the first time.

This needs no graph of the model and stays right where values bypass the layer: they come from the recording.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from camport.core.layers import LayerName, replace_first_tensor
from camport.core.loop import traced
from camport.core.replica import hook, pre_hook


@dataclass(frozen=True)
class Recorded:
    """What one forward pass tells of a run of a layer.

    Attributes:
        ended: name and copied output of each module that ended before the run began, in the order of their ends; of
            modules within one another the outermost.
        output: what the layer put out.
    """

    ended: Sequence[tuple[str, Any]]
    output: Any


class Tail:
    """What a model computes behind one run of one module, for a few images.

    Args:
        double: a private double of the model (`camport.core.replica`).
        layer: the module and the index of its run.
        call: `call(double, images, target)` calls the model.
        images: [b,c,H,W].
        target: of these images.
        recorded: what a forward pass has told already; left out, one is made.
    """

    def __init__(
        self,
        double: nn.Module,
        layer: LayerName,
        call: Callable[[nn.Module, Tensor, Mapping[str, Tensor]], Any],
        images: Tensor,
        target: Mapping[str, Tensor],
        recorded: Recorded | None = None,
    ) -> None:
        self.double, self.layer, self.call, self.images, self.target = double, layer, call, images, target
        self.cached: dict[str, list[Any]] = {}
        self._written: set[tuple[str, int]] | None = None
        """Which of these (and the images, "") the model writes into: each call gives it a copy of them. The first call
        finds that out, with copies of all."""
        recorded = recorded or self._record()
        self.output = recorded.output
        for name, output in recorded.ended:
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
            return copied(value) if traced() or self._written is None or key in self._written else value

        cached = [((name, i), out) for name, outs in self.cached.items() for i, out in enumerate(outs)]
        handed = {key: unharmed(key, out) for key, out in cached}
        images = handed["", 0] = unharmed(("", 0), self.images)
        stubs = {name: [handed[name, i] for i in range(len(outs))] for name, outs in self.cached.items()}
        replaced = replace_first_tensor(tree_map(repeated, self.output), activations)
        stubs.setdefault(self.layer.module, []).append(replaced)
        stubbed = []
        try:
            for name, outs in stubs.items():
                module = self.double.get_submodule(name)
                stubbed.append((module, module.__dict__.get("forward")))
                module.__dict__["forward"] = _Stub(outs, module.forward)
            said = self.call(self.double, images, {k: repeated(v) for k, v in self.target.items()})
        finally:
            for module, forward in stubbed:
                if forward is None:
                    del module.__dict__["forward"]
                else:
                    module.__dict__["forward"] = forward
        if self._written is None and not traced():
            leaves = ((key, leaf) for key, value in handed.items() for leaf in tree_leaves(value))
            self._written = {key for key, leaf in leaves if isinstance(leaf, Tensor) and leaf._version}
        return said

    def _record(self) -> Recorded:
        ended: list[tuple[str, Any]] = []
        starts: list[int] = []  # how many runs had ended when each of those now open began
        calls: dict[str, Any] = {"n": 0, "done": False, "output": None}
        handles = []

        def before(module: nn.Module, args: Any) -> None:
            starts.append(len(ended))

        def after(name: str) -> Callable[[nn.Module, Any, Any], None]:
            def end(module: nn.Module, args: Any, output: Any) -> None:
                start = starts.pop()
                if calls["done"]:
                    return
                if name == self.layer.module:
                    if calls["n"] == self.layer.run:
                        calls.update(output=copied(output), done=True)
                        del ended[start:]
                        return
                    calls["n"] += 1
                del ended[start:]
                ended.append((name, copied(output)))

            return end

        try:
            for name, module in self.double.named_modules():
                if name:
                    handles.append(pre_hook(module, before))
                    handles.append(hook(module, after(name)))
            with torch.no_grad():
                self.call(self.double, self.images.clone(), self.target)
        finally:
            for handle in handles:
                handle.remove()
        return Recorded(ended, calls["output"])


class _Stub:
    """A module's forward that first gives back recorded outputs, then runs for real."""

    def __init__(self, outputs: list[Any], forward: Callable[..., Any]) -> None:
        self.outputs, self.forward = list(outputs), forward

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.outputs:
            return self.outputs.pop(0)
        return self.forward(*args, **kwargs)


def copied(output: Any) -> Any:
    """What a module put out, as it was: an in-place operation behind the module would change it."""
    return tree_map(lambda value: value.detach().clone() if isinstance(value, Tensor) else value, output)
