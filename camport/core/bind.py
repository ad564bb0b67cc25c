"""Binding a method to a model."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from torch import nn

from camport.core import registry
from camport.core.adapter import Adapter
from camport.core.bound import Bound
from camport.core.explainer import Explainer
from camport.core.running.layers import Layers, check_layer_kinds
from camport.errors import InputError

Kind = TypeVar("Kind")
"""Adapter or Explainer."""


def bind(
    model: nn.Module,
    method: str | type[Explainer] | Explainer | None = None,
    layer: Layers | None = None,
    adapter: str | type[Adapter] | Adapter = "classification",
    *,
    chunk: int | None = None,
    preprocess: Any = None,
    labels: Sequence[str] | None = None,
) -> Bound:
    """Binds a method to a model.

    Args:
        model: any nn.Module; left exactly as found. It is always explained in evaluation mode.
        method: a name from `camport.methods()`, an Explainer class, or an instance with its
            options; None is the adapter's (gradcam, for detection odam).
        layer: dotted module name, a module of the model, a list of these (fused), or None: chosen
            at the first call and reported. `name@0` is the first run of a module that runs several
            times.
        adapter: a name from `camport.adapters()`, an Adapter class, or an instance with its
            options.
        chunk: images in one pass of methods that run many variants of an image. None: as many as
            their size gives, never the free memory, on which results would depend: on a CPU 6 of
            3x224x224, 32 of 3x64x64. Where even they do not fit the chunk is halved, with a
            MemoryWarning.
        preprocess: how the model wants its pictures, for the metadata of an exported file:
            a `camport.runtime.Preprocess` or its fields, e.g. {"size": [224, 224], "mean": [...],
            "std": [...]}. A file that does not say takes pixels / 255, with a DoubtWarning.
        labels: the classes' names, for the same.

    Raises:
        InputError: `model` is no nn.Module.
        UnknownNameError: no such method or adapter; the nearest names are offered.
        LayerError: no such layer.
    """
    if not isinstance(model, nn.Module):
        raise InputError(f"model is {type(model).__name__}, not a torch.nn.Module")
    if chunk is not None and (not isinstance(chunk, int) or chunk < 1):
        raise InputError(f"chunk is {chunk!r}; it is a number of images, at least 1")
    if layer is not None:
        check_layer_kinds(layer)
    given = _instance(adapter, Adapter, "adapter", registry.adapter)  # type: ignore[type-abstract]
    wanted = given.method if method is None else method
    explainer = _instance(wanted, Explainer, "method", registry.explainer)  # type: ignore[type-abstract]
    bound_adapter = explainer.scored(given)
    return Bound(
        bound_adapter.unwrap(unwrapped(model)),
        explainer,
        layer,
        bound_adapter,
        chunk,
        _as_mapping(preprocess),
        None if labels is None else tuple(labels),
    )


def _as_mapping(preprocess: Any) -> Mapping[str, Any] | None:
    """As the metadata has it, of a `camport.runtime.Preprocess` too."""
    if dataclasses.is_dataclass(preprocess) and not isinstance(preprocess, type):
        return dataclasses.asdict(preprocess)
    if preprocess is not None and not isinstance(preprocess, Mapping):
        raise InputError(
            f"preprocess is {preprocess!r}; give a camport.runtime.Preprocess or its fields, e.g."
            ' {"size": [224, 224], "mean": [...], "std": [...]}'
        )
    return preprocess


def _instance(given: Any, kind: type[Kind], what: str, find: Callable[[str], type[Kind]]) -> Kind:
    """A method or adapter as an instance: of a name's class, of a class with its defaults,
    or as it was given."""
    if isinstance(given, kind):
        return given
    cls = find(given) if isinstance(given, str) else given
    if not (isinstance(cls, type) and issubclass(cls, kind)):
        raise InputError(
            f"{what} is {type(given).__name__}; give a name from `camport {what}s`, a subclass of"
            f" {kind.__name__}, or an instance of one"
        )
    try:
        return cls()
    except TypeError as error:
        raise InputError(
            f"{what} {cls.__name__} has no defaults for all of its options: {error}"
        ) from error


def unwrapped(model: nn.Module) -> nn.Module:
    """The model inside torch.compile, DataParallel and DistributedDataParallel."""
    inner = getattr(model, "_orig_mod", None)
    if inner is None and isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
        inner = model.module
    return unwrapped(inner) if isinstance(inner, nn.Module) else model
