"""What runs in a forward pass: hooks on the modules of a double, and what they see; removed when
the pass is over."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map, tree_unflatten
from torch.utils.hooks import RemovableHandle

from camport.core.isolation.private_copy import hook, pre_hook
from camport.core.running.scripted import visible_modules
from camport.errors import CamportError


@dataclass(slots=True)
class Ran:
    """One run of one module, as it ends.

    Attributes:
        name: dotted name of the module.
        module: of the double.
        index: among the runs of this module.
        args: what it took.
        output: what it puts out.
        begun: what the recorder's `begun` returned as the run began.
        around: the modules that have begun and not ended, the outermost first, and what `begun`
            returned of them.
    """

    name: str
    module: nn.Module
    index: int
    args: Any
    output: Any
    begun: Any
    around: Sequence[tuple[nn.Module, Any]]


class Recorder:
    """While open, sees every run of the modules in a double.

    Its hooks come before those that the user's modules have, so that what these keep of an output
    is what `ended` makes of it.

    Args:
        double: a private double of a model.
        ended: called with each run as it ends; what it returns takes the output's place, unless
            that is None.
        begun: called with a module and its arguments before it runs.
        modules: dotted names of the modules that are seen; None is all but the double itself.
            Scripted ones take no hooks.
        root: see the double itself as well, whose name is "".
        behind: called as `ended` is, behind the hooks of the user's, for the modules that have any.
    """

    def __init__(
        self,
        double: nn.Module,
        ended: Callable[[Ran], Any] | None = None,
        begun: Callable[[nn.Module, Any], Any] | None = None,
        *,
        modules: Collection[str] | None = None,
        root: bool = False,
        behind: Callable[[Ran], Any] | None = None,
    ) -> None:
        self.double, self.ended, self.begun, self.behind = double, ended, begun, behind
        self.modules, self.root = modules, root
        self._open: list[tuple[nn.Module, Any]] = []
        self._times: dict[str, int] = {}
        self._handles: list[RemovableHandle] = []

    def __enter__(self) -> Recorder:
        """Registers the hooks."""
        if self.modules is not None:
            seen = [(name, self.double.get_submodule(name)) for name in self.modules]
        else:
            takes_hooks = self.root and not isinstance(self.double, torch.jit.ScriptModule)
            seen = [pair for pair in visible_modules(self.double) if pair[0] or takes_hooks]
        for name, module in seen:
            behind = self.behind if module._forward_hooks else None
            if self.begun:
                self._handles.append(pre_hook(module, self._begin))
            self._handles.append(hook(module, self._end(name)))
            if behind:
                self._handles.append(module.register_forward_hook(self._again(name, behind)))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Removes them."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def _begin(self, module: nn.Module, args: Any) -> None:
        assert self.begun is not None
        self._open.append((module, self.begun(module, args)))

    def _end(self, name: str) -> Callable[[nn.Module, Any, Any], Any]:
        def end(module: nn.Module, args: Any, output: Any) -> Any:
            index = self._times[name] = self._times.get(name, -1) + 1
            begun = self._closed(module) if self.begun else None
            return (
                self.ended(Ran(name, module, index, args, output, begun, self._open))
                if self.ended
                else None
            )

        return end

    def _again(
        self, name: str, behind: Callable[[Ran], Any]
    ) -> Callable[[nn.Module, Any, Any], Any]:
        return lambda module, args, output: behind(
            Ran(name, module, self._times[name], args, output, None, self._open)
        )

    def _closed(self, module: nn.Module) -> Any:
        """What `begun` returned of the run that ends; those within it that raised, and were caught,
        have no end."""
        while self._open:
            last, begun = self._open.pop()
            if last is module:
                return begun
        return None


class Overwritten(CamportError):  # passes by what calls a model, as an error of its own does not
    """What a module put out was written into before it was copied."""


class Ended:
    """What a module put out when it ended, with a copy of it.

    Args:
        name: of the module.
        output: what it put out; the model may write into it later.
        copy: whether it is copied at once, or when it is kept: most are let go before, as parts of
            a module that ended.

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

    def excuse(self, before: list[int]) -> None:
        """Forgets what the next module wrote into this output, as an in-place ReLU does: that will
        not run again.

        Args:
            before: the versions when that module began.
        """
        if self.copy is not None and before == self.versions:
            self.versions = versions(self.output)

    @property
    def written(self) -> bool:
        """Whether the model has written into the output since."""
        return versions(self.output) != self.versions


class Outermost:
    """The modules that have ended, in the order of their ends; of modules within one another the
    outermost.

    Args:
        copy_at_once: as `Ended`.
    """

    def __init__(self, copy_at_once: bool = True) -> None:
        self.copy_at_once = copy_at_once
        self.ended: list[Ended] = []

    def begun(self) -> tuple[int, list[int]]:
        """How many had ended when a run began, and the versions of the last one's output."""
        return len(self.ended), versions(self.ended[-1].output) if self.ended else []

    def end(self, ran: Ran, begun: tuple[int, list[int]], keep: bool = True) -> None:
        """Puts a run in the place of those within it, or takes these out alone."""
        start, before = begun
        if start:
            self.ended[start - 1].excuse(before)
        del self.ended[start:]
        if keep:
            self.ended.append(Ended(ran.name, ran.output, self.copy_at_once))


def first_tensor(output: Any) -> Tensor | None:
    """The first floating-point tensor in a module's output (tensor, tuple, dict, ModelOutput)."""
    return next(
        (v for v in tree_leaves(output) if isinstance(v, Tensor) and v.is_floating_point()), None
    )


def replace_first_tensor(output: Any, new: Tensor) -> Any:
    """`output` with its first floating-point tensor replaced."""
    if isinstance(output, Tensor):
        return new
    leaves, spec = tree_flatten(output)
    index = next(i for i, v in enumerate(leaves) if isinstance(v, Tensor) and v.is_floating_point())
    return tree_unflatten([*leaves[:index], new, *leaves[index + 1 :]], spec)


def versions(output: Any) -> list[int]:
    """How often each of the tensors in what a module put out was written into."""
    return [value._version for value in tree_leaves(output) if isinstance(value, Tensor)]


def copied(output: Any) -> Any:
    """What a module put out, as it was: an in-place operation behind the module would change it."""
    return tree_map(
        lambda value: value.detach().clone() if isinstance(value, Tensor) else value, output
    )
