"""Refuses a model by the operators that it calls, before anything is traced.

One run tells which they are. It is a run on fake tensors, without a value in them: real ones would call kernels that no
graph has, a fused LSTM say.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from types import FrameType
from typing import Any

from torch import Tensor, nn

from camport.core.adapter import Adapter
from camport.core.explainer import Explainer
from camport.core.maps.loop import Step, Tick, looping
from camport.errors import ExportError
from camport.export.capture.record import as_traced
from camport.export.failure_location import untraceable
from camport.export.preflight.chance import Chance, draws
from camport.export.private_torch import (
    DataDependentOutputException,
    FakeTensorMode,
    GuardOnDataDependentSymNode,
    ShapeEnv,
    TorchDispatchMode,
    autograd_node,
    latest_number,
    tree_map_only,
)
from camport.export.traceable import Traceable

Missing = Callable[[Any, Sequence[Any]], str | None]
"""What a file cannot hold of an operator called with these arguments; None where it can."""


def check_called(
    program: Traceable, state: Mapping[str, Tensor], inputs: Mapping[str, Tensor], missing: Missing, kind: str
) -> None:
    """Runs `program` once and looks at every operator of its forward and backward pass.

    Args:
        program: what shall be exported.
        state: the model's tensors.
        inputs: an example.
        missing: what the file cannot hold.
        kind: the file's format, for the message.

    Raises:
        ExportError: naming each operator that it cannot hold, the module that calls it, and what can be done; or the
            operator that draws random numbers, with its module or method; or the place where the model reads values of
            tensors, which a graph does not have.
    """
    called, drawn = _Called(missing), dict[str, str]()
    mode = FakeTensorMode(shape_env=ShapeEnv(), allow_non_fake_inputs=True)
    fake = partial(mode.from_tensor, static_shapes=True)
    fake_state, fake_inputs = tree_map_only(Tensor, fake, (dict(state), dict(inputs)))
    try:
        with as_traced(mode), looping(_once), called:
            made = program(fake_state, fake_inputs)
            drawn = {name: source for name, value in made.items() if (source := called.chance.of(value))}
    except Exception as error:  # whatever else fails here fails in tracing too, which knows what to say of it
        if not called.refused and isinstance(error.__cause__ or error, _READS_VALUES):
            raise untraceable(error) from error
    if drawn:
        name, source = next(iter(drawn.items()))
        several = f" and {len(drawn) - 1} more of its outputs depend" if len(drawn) > 1 else " depends"
        raise ExportError(
            f"{source} draws random numbers, and {name!r}{several} on them: a file would answer differently each time, "
            "and never as PyTorch did. Take it out, or make the numbers from a seed, as camport.core.maps.noise does"
        )
    if not called.refused:
        return
    listed = "; ".join(f"{operator}{place}" for operator, (place, _) in called.refused.items())
    forward = any(ahead for _, ahead in called.refused.values())
    remedy = "Replace the module" if forward else _REMEDY
    raise ExportError(f"no {kind} form for {listed}. {remedy}")


_READS_VALUES = (DataDependentOutputException, GuardOnDataDependentSymNode)

_REMEDY = "Choose a later layer, so that the gradient does not pass through it, or replace the module"


def _once(step: Step, codes: Sequence[Tensor], chunk: int, total: bool, tick: Tick | None) -> Tensor:
    """A loop whose turns are all like the first."""
    part = step(*(code[:1] for code in codes))
    return part.sum(0) if total else part.expand(codes[0].shape[0], *part.shape[1:])


class _Called(TorchDispatchMode):
    """Keeps the operators that a file cannot hold, and where each was called first.

    A backward operator belongs to the module whose call made its node of autograd's graph: both bear one number.
    """

    def __init__(self, missing: Missing) -> None:
        super().__init__()
        self._missing, self.chance = missing, Chance()
        self._makers: dict[int, list[nn.Module]] = {}
        self.refused: dict[str, tuple[str, bool]] = {}
        """What -> where it was called, and whether in the forward pass."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Called by PyTorch for every operator, below autograd."""
        node: Any = autograd_node()
        if node is None:  # the first operator after a node was made is the one that it was made for
            number = latest_number()
            if number not in self._makers:
                self._makers[number] = _at_work()
        given, drawn = kwargs or {}, None
        makers = [] if node is None else self._makers.get(node._sequence_nr(), [])
        if draws(func, args, given):
            drawn = f"{func}{_place(makers) or _method_at_work() or _place(_at_work())}"
        elif lacking := self._missing(func, args):
            self.refused.setdefault(lacking, (_place(_at_work() if node is None else makers), node is None))
        result = func(*args, **given)
        self.chance.follow(func, args, given, result, drawn)
        return result


def _at_work() -> list[nn.Module]:
    """The modules that are being run, the innermost first."""
    modules: list[nn.Module] = []
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        code = frame.f_code
        if code.co_argcount and code.co_varnames[0] == "self":
            module = frame.f_locals.get("self")
            if isinstance(module, nn.Module) and not (modules and modules[-1] is module):
                modules.append(module)
        frame = frame.f_back
    return modules


def _method_at_work() -> str:
    """The method or adapter that calls an operator itself, and not through the model: " in method 'rise' (RISE)"."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        code = frame.f_code
        owner = frame.f_locals.get(code.co_varnames[0]) if code.co_argcount else None
        if isinstance(owner, nn.Module):
            return ""
        if isinstance(owner, Explainer | Adapter):
            kind = "method" if isinstance(owner, Explainer) else "adapter"
            return f" in {kind} {owner.name!r} ({type(owner).__name__})"
        frame = frame.f_back
    return ""


def _place(modules: Sequence[nn.Module]) -> str:
    """The innermost module, by its path from the outermost one: " in 'features.3' (Sampled)"."""
    if not modules:
        return ""
    path: list[str] = []
    for inner, outer in pairwise(modules):
        path[:0] = [next((name for name, module in outer.named_modules() if module is inner), "?")]
    name = ".".join(path)
    return f" in {name!r} ({type(modules[0]).__name__})" if name else f" in {type(modules[0]).__name__}"
