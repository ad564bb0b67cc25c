"""Where a model itself switches gradients off, so that no path leads back from the score."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from camport.core.running.call_model import called, rows
from camport.core.running.layers import LayerName
from camport.core.running.recorder import Ran, Recorder
from camport.errors import LayerError


def switched_off(double: nn.Module, call: Callable[[], Any], layer: str) -> str | None:
    """ "torch.no_grad() in Frozen.forward", under which a layer runs; None where gradients are
    recorded there.

    Args:
        double: a private double of the model.
        call: runs it once.
        layer: dotted name; the model's own, "", stands for whatever runs first without gradients.
    """
    found: list[str] = []
    wanted = double.get_submodule(layer) if layer else None

    def ended(ran: Ran) -> None:
        if not torch.is_grad_enabled() and wanted in (None, ran.module):
            what = (
                "torch.inference_mode()" if torch.is_inference_mode_enabled() else "torch.no_grad()"
            )
            around = next(
                (type(outer).__name__ for outer, recorded in reversed(ran.around) if recorded), None
            )
            found.append(what if around is None else f"{what} in {around}.forward")

    with (
        Recorder(double, ended, lambda module, args: torch.is_grad_enabled(), root=True),
        torch.enable_grad(),
    ):
        call()
    return found[0] if found else None


def blamed(
    adapter: Any,
    double: nn.Module,
    images: Tensor,
    given: Mapping[str, Tensor],
    layers: Sequence[LayerName] | None,
) -> LayerError | None:
    """An error that names the place where the model itself switches gradients off, if it does."""
    for layer in layers or [LayerName("")]:
        call = partial(called, adapter, double, images[:1].clone(), rows(given, 1))
        if where := switched_off(double, call, layer.module):
            what = f"layer {str(layer)!r}" if layer.module else "a part of the model"
            return LayerError(
                f"{what} runs under {where}, where no gradient is recorded; choose the output of"
                " what runs there or a layer behind it, leave that out of the model, or use a"
                " method without gradients (eigencam)"
            )
    return None
