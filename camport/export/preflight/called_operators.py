"""Refuses a model by the operators that it calls, before anything is traced.

One run tells which they are. It is a run on fake tensors, without a value in them: real ones would
call kernels that no graph has, a fused LSTM say.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from torch import Tensor

from camport.core.maps.loop import Step, Tick, looping
from camport.errors import ExportError
from camport.export.capture.call_sites import CallSites
from camport.export.capture.record import as_traced
from camport.export.failure_location import Site, calling_frames, locate, site_of, untraceable
from camport.export.preflight.chance import Chance, draws
from camport.export.private_torch import (
    DataDependentOutputException,
    FakeTensorMode,
    GuardOnDataDependentSymNode,
    ShapeEnv,
    tree_map_only,
)
from camport.export.traceable import Traceable

Missing = Callable[[Any, Sequence[Any]], str | None]
"""What a file cannot hold of an operator called with these arguments; None where it can."""


def check_called(
    program: Traceable,
    state: Mapping[str, Tensor],
    inputs: Mapping[str, Tensor],
    missing: Missing,
    kind: str,
) -> None:
    """Runs `program` once and looks at every operator of its forward and backward pass.

    Args:
        program: what shall be exported.
        state: the model's tensors.
        inputs: an example.
        missing: what the file cannot hold.
        kind: the file's format, for the message.

    Raises:
        ExportError: naming each operator that it cannot hold, the module that calls it, and what
            can be done; or the operator that draws random numbers, with its module or method; or
            the place where the model reads values of tensors, which a graph does not have.
    """
    called, drawn = _Called(missing), dict[str, str]()
    mode = FakeTensorMode(shape_env=ShapeEnv(), allow_non_fake_inputs=True)
    fake = partial(mode.from_tensor, static_shapes=True)
    fake_state, fake_inputs = tree_map_only(Tensor, fake, (dict(state), dict(inputs)))
    try:
        with as_traced(mode), looping(_once), called:
            made = program(fake_state, fake_inputs)
            drawn = {
                name: source for name, value in made.items() if (source := called.chance.of(value))
            }
    except Exception as error:
        # whatever else fails here fails in tracing too, which knows what to say of it
        if not called.refused and isinstance(error.__cause__ or error, _READS_VALUES):
            raise untraceable(error) from error
    if drawn:
        name, source = next(iter(drawn.items()))
        several = (
            f" and {len(drawn) - 1} more of its outputs depend" if len(drawn) > 1 else " depends"
        )
        operator, site = called.drawn[source]
        refusal = ExportError(
            f"{source} draws random numbers, and {name!r}{several} on them: a file would answer"
            " differently each time, and never as PyTorch did. Take it out, or make the numbers"
            " from a seed, as camport.core.maps.noise does"
        )
        raise locate(refusal, operator, site)
    if not called.refused:
        return
    listed = "; ".join(
        f"{lacking}{_place(site)}" for lacking, (_, site, _) in called.refused.items()
    )
    forward = any(ahead for *_, ahead in called.refused.values())
    remedy = "Replace the module" if forward else _REMEDY
    operator, site, _ = next(iter(called.refused.values()))
    raise locate(ExportError(f"no {kind} form for {listed}. {remedy}"), operator, site)


_READS_VALUES = (DataDependentOutputException, GuardOnDataDependentSymNode)

_REMEDY = (
    "Choose a later layer, so that the gradient does not pass through it, or replace the module"
)


def _once(
    step: Step, codes: Sequence[Tensor], chunk: int, total: bool, tick: Tick | None
) -> Tensor:
    """A loop whose turns are all like the first."""
    part = step(*(code[:1] for code in codes))
    return part.sum(0) if total else part.expand(codes[0].shape[0], *part.shape[1:])


class _Called(CallSites):
    """Keeps the operators that a file cannot hold, and where each was called first."""

    def __init__(self, missing: Missing) -> None:
        super().__init__()
        self._missing, self.chance = missing, Chance()
        self.drawn: dict[str, tuple[str, Site]] = {}
        """What is said of random numbers -> the operator that draws them, and where it was
        called."""
        self.refused: dict[str, tuple[str, Site, bool]] = {}
        """What -> the operator, where it was called, and whether in the forward pass."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Called by PyTorch for every operator, below autograd."""
        site, forward = self.site(func)
        given, drawn = kwargs or {}, None
        if draws(func, args, given):
            site = site if site.module else site_of(calling_frames(1))
            drawn = f"{func}{_place(site)}"
            self.drawn[drawn] = str(func), site
        elif lacking := self._missing(func, args):
            self.refused.setdefault(lacking, (str(func), site, forward))
        result = func(*args, **given)
        self.chance.follow(func, args, given, result, drawn)
        return result


def _place(site: Site) -> str:
    """Where it is called: " in 'features.3' (Sampled)"."""
    return f" in {site.module}" if site.module else ""
