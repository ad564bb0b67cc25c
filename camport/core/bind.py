"""Binding a method to a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from camport.core import registry
from camport.core.adapter import Adapter
from camport.core.bound import Bound
from camport.core.explainer import Explainer
from camport.errors import InputError


def bind(
    model: nn.Module,
    method: str | Explainer | None = None,
    layer: str | Sequence[str] | None = None,
    adapter: str | Adapter = "classification",
    *,
    chunk: int | None = None,
    preprocess: Mapping[str, Any] | None = None,
    labels: Sequence[str] | None = None,
) -> Bound:
    """Binds a method to a model.

    Args:
        model: any nn.Module; left exactly as found. It is always explained in evaluation mode.
        method: a name from `camport.methods()`, or an Explainer instance with its options; None is the adapter's
            (gradcam, for detection odam).
        layer: dotted module name, a list of names (fused), or None: chosen at the first call and reported.
            `name@0` is the first run of a module that runs several times.
        adapter: a name from `camport.adapters()`, or an Adapter instance with its options.
        chunk: images in one pass of methods that run many variants of an image; None sizes it from the free memory.
        preprocess: how the model wants its pictures, for the metadata of an exported file: the fields of
            `camport.runtime.Preprocess`, e.g. {"size": [224, 224], "mean": [...], "std": [...]}.
        labels: the classes' names, for the same.

    Raises:
        InputError: `model` is no nn.Module.
        UnknownNameError: no such method or adapter; the nearest names are offered.
        LayerError: no such layer.
    """
    if not isinstance(model, nn.Module):
        raise InputError(f"model is {type(model).__name__}, not a torch.nn.Module")
    if chunk is not None and chunk < 1:
        raise InputError(f"chunk is {chunk}; it is a number of images, at least 1")
    given = adapter if isinstance(adapter, Adapter) else registry.adapter(adapter)()
    explainer = method if isinstance(method, Explainer) else registry.explainer(method or given.method)()
    bound_adapter = explainer.scored(given)
    return Bound(bound_adapter.unwrap(unwrapped(model)), explainer, layer, bound_adapter, chunk, preprocess, labels)


def unwrapped(model: nn.Module) -> nn.Module:
    """The model inside torch.compile, DataParallel and DistributedDataParallel."""
    inner = getattr(model, "_orig_mod", None)
    if inner is None and isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
        inner = model.module
    return unwrapped(inner) if isinstance(inner, nn.Module) else model
