"""`camport.bind` and `camport.explain`: as `camport.core.bind`,
and for the path of a bare .onnx file too."""

from __future__ import annotations

import dataclasses
import os
import sys
from typing import TYPE_CHECKING, Any, cast

from torch import Tensor, nn

from camport.core import bind as core
from camport.core.adapter import Adapter
from camport.core.bound import Bound
from camport.core.explainer import Explainer
from camport.core.explanation import Explanation
from camport.core.running.layers import Layers

if TYPE_CHECKING:
    from camport.models.loaded import Loaded


def bind(
    model: nn.Module | Loaded | str | os.PathLike[str],
    method: str | type[Explainer] | Explainer | None = None,
    layer: Layers | None = None,
    adapter: str | type[Adapter] | Adapter = "classification",
    **options: Any,
) -> Bound:
    """Binds a method to a model.

    Args:
        model: any nn.Module, left exactly as found; what `camport.models.load_model` gives, with
            its preprocessing, labels, layer and adapter, which exported files carry; or the path of
            an .onnx file, whose nodes are rebuilt as PyTorch operations. It is always explained in
            evaluation mode.
        method: a name from `camport.methods()`, an Explainer class, or an instance with its
            options; None is the adapter's (gradcam, for detection odam).
        layer: dotted module name, a module of the model, a list of these (fused), or None:
            chosen at the first call and reported. `name@0` is the first run of a module that runs
            several times. In an .onnx file, a node or a tensor.
        adapter: a name from `camport.adapters()`, an Adapter class, or an instance with its
            options.
        options: `chunk`, `preprocess`, `labels` of `camport.core.bind.bind`; `image` and `inputs`
            of `load_onnx`.

    Raises:
        InputError: `model` is none of these.
        ModelError: the .onnx file cannot be read or has an operator that is not known.
        UnknownNameError: no such method or adapter; the nearest names are offered.
        LayerError: no such layer.
    """
    if isinstance(model, str | os.PathLike):
        from camport.models.onnx import load_onnx

        loaded = load_onnx(
            os.fspath(model), image=options.pop("image", None), inputs=options.pop("inputs", None)
        )
        return _bound(loaded, method, layer, adapter, options)
    # asked without an import: what was never loaded is no `Loaded`
    models = sys.modules.get("camport.models.loaded")
    if models is not None and isinstance(model, models.Loaded):
        adapter = model.adapter if adapter == "classification" else adapter
        return _bound(model, method, layer, adapter, options)
    return core.bind(cast(nn.Module, model), method, layer, adapter, **options)


def _bound(
    loaded: Loaded, method: Any, layer: Layers | None, adapter: Any, options: dict[str, Any]
) -> Bound:
    """The method bound to a model that was loaded, with what is known of it."""
    stated = dataclasses.asdict(loaded.preprocess)
    if loaded.guessed:  # a file that says nothing of mean and std is run with a warning
        stated = {"size": stated["size"]}
    own = {"preprocess": stated, "labels": loaded.labels or None}
    where = loaded.layer if layer is None else layer
    return core.bind(loaded.model, method, where, adapter, **{**own, **options})


def explain(
    model: nn.Module | Loaded | str | os.PathLike[str],
    images: Tensor,
    method: str | type[Explainer] | Explainer | None = None,
    target: Any = None,
    layer: Layers | None = None,
    adapter: str | type[Adapter] | Adapter = "classification",
    **options: Any,
) -> Explanation:
    """`bind` and call in one."""
    return bind(model, method, layer, adapter, **options)(images, target)
