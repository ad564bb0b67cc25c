"""Calling a model, with errors that say what is wrong with the images where that can be told."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from camport.core.isolation.guard import guarded
from camport.core.isolation.private_copy import origin
from camport.core.isolation.uncheckpointed import uncheckpointed
from camport.core.isolation.writes import watched
from camport.core.maps.loop import traced
from camport.errors import CamportError, ModelError

if TYPE_CHECKING:
    from camport.core.adapter import Adapter


def called(
    adapter: Adapter, double: nn.Module, images: Tensor, target: Mapping[str, Tensor]
) -> Any:
    """What the model says about a target; ModelError where it fails,
    naming what is wrong with the images."""
    with _private(double):
        return _diagnosed(lambda: adapter.ask(double, images, target), double, images)


@contextmanager
def _private(double: nn.Module) -> Iterator[None]:
    """While open, nothing runs but the double, and that without checkpoints."""
    known = origin(double)
    if known is None:
        yield
        return
    # torch.jit calls some operators with wrong arguments where a mode watches them (seen in 2.15)
    watches = not (known.known or known.scripted or traced())
    writes = watched(known.model, known.parameters, known.shares) if watches else nullcontext()
    with guarded(known.modules, type(double).__name__), uncheckpointed(), writes:
        yield
    known.known = known.known or watches


def prepared(adapter: Adapter, double: nn.Module, target: Any, images: Tensor) -> dict[str, Tensor]:
    """The user's target as tensors, where the model may be called for what was left out;
    errors as `called`."""
    with torch.no_grad(), _private(double):
        return _diagnosed(lambda: adapter.prepare_for(double, target, images), double, images)


def _diagnosed(call: Callable[[], Any], double: nn.Module, images: Tensor) -> Any:
    try:
        return call()
    except CamportError:
        raise
    except Exception as error:  # a model's forward is anybody's code and raises whatever it likes
        raise ModelError(_diagnose(double, images, error)) from error


_FURTHER = (
    "a model that takes more than the images is explained inside a module that hands it the rest, "
    "or by an adapter whose `call` does"
)


def _diagnose(model: nn.Module, images: Tensor, error: Exception) -> str:
    shape = tuple(images.shape)
    conv = next((m for m in model.modules() if isinstance(m, nn.Conv2d)), None)
    if conv is not None and conv.in_channels != images.shape[1]:
        return (
            f"images {shape} have {images.shape[1]} channels, the model's first convolution takes"
            f" {conv.in_channels}"
        )
    lines = str(error).strip().splitlines()
    said = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    text = f"{type(model).__name__} could not be run on images {shape}: {said}"
    if isinstance(error, TypeError) and "required" in said:
        return f"{text}; {_FURTHER}"
    # an argument that was left out is None, and the model reads what None does not have
    if "'NoneType'" in said:
        return f"{text}; {_FURTHER}"
    if "should be the same" in said or "same dtype" in said:
        kind = str(images.dtype).removeprefix("torch.")
        return (
            f"{text}; the images were {kind}: bring the model to one type, or explain it under"
            " torch.autocast"
        )
    return text


def without_graph(outputs: Any) -> Any:
    """The model's outputs detached; a tensor that stands in two places, as in BLIP's outputs,
    is one tensor still."""
    seen: dict[int, Tensor] = {}

    def detached(value: Any) -> Any:
        return seen.setdefault(id(value), value.detach()) if isinstance(value, Tensor) else value

    return tree_map(detached, outputs)


def scored(
    adapter: Adapter,
    outputs: Any,
    given: Mapping[str, Tensor],
    lists: bool,
    *,
    validate: bool = True,
) -> tuple[dict[str, Tensor], Tensor]:
    """The target with its defaults filled in from a model's outputs, and its score y^c [b].

    Args:
        adapter: scores the outputs.
        outputs: what the model said; the score is differentiable in them.
        given: the target, not resolved.
        lists: the target is whatever the adapter finds in the outputs.
        validate: check that outputs and target fit, which is never traced.
    """
    detached = without_graph(outputs)
    with torch.no_grad():
        if validate:
            adapter.check(detached, given)
        target = adapter.resolve(detached, adapter.listed(detached) if lists else given)
    return target, adapter.score(outputs, target)


def rows(target: Mapping[str, Tensor], n: int) -> dict[str, Tensor]:
    """The target of the first n images."""
    return {name: value[:n] for name, value in target.items()}


def one_each(target: Mapping[str, Tensor], n: int) -> list[dict[str, Tensor]]:
    """The targets of n images, each of one."""
    return [{name: value[i : i + 1] for name, value in target.items()} for i in range(n)]
