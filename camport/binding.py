"""`camport.bind` and `camport.explain`: as `camport.core.bind`,
and for the path of a bare .onnx file too."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

from torch import Tensor, nn

from camport.core import bind as core
from camport.core.adapter import Adapter
from camport.core.bound import Bound
from camport.core.explainer import Explainer
from camport.core.explanation import Explanation
from camport.core.running.layers import Layers


def bind(
    model: nn.Module | str | os.PathLike[str],
    method: str | type[Explainer] | Explainer | None = None,
    layer: Layers | None = None,
    adapter: str | type[Adapter] | Adapter = "classification",
    **options: Any,
) -> Bound:
    """Binds a method to a model.

    Args:
        model: any nn.Module, left exactly as found; or the path of an .onnx file, whose nodes are
            rebuilt as PyTorch operations. It is always explained in evaluation mode.
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
        InputError: `model` is neither of the two.
        ModelError: the .onnx file cannot be read or has an operator that is not known.
        UnknownNameError: no such method or adapter; the nearest names are offered.
        LayerError: no such layer.
    """
    if isinstance(model, str | os.PathLike):
        from camport.models.onnx import load_onnx

        loaded = load_onnx(
            os.fspath(model), image=options.pop("image", None), inputs=options.pop("inputs", None)
        )
        own = {"preprocess": dataclasses.asdict(loaded.preprocess), "labels": loaded.labels or None}
        return core.bind(
            loaded.model,
            method,
            loaded.layer if layer is None else layer,
            adapter,
            **{**own, **options},
        )
    return core.bind(model, method, layer, adapter, **options)


def explain(
    model: nn.Module | str | os.PathLike[str],
    images: Tensor,
    method: str | type[Explainer] | Explainer | None = None,
    target: Any = None,
    layer: Layers | None = None,
    adapter: str | type[Adapter] | Adapter = "classification",
    **options: Any,
) -> Explanation:
    """`bind` and call in one."""
    return bind(model, method, layer, adapter, **options)(images, target)
