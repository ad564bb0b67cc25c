"""Where a model itself switches gradients off, so that no path leads back from the score."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from camport.core.isolation.private_copy import hook, pre_hook


def switched_off(double: nn.Module, call: Callable[[], Any], layer: str) -> str | None:
    """ "torch.no_grad() in Frozen.forward", under which a layer runs; None where gradients are recorded there.

    Args:
        double: a private double of the model.
        call: runs it once.
        layer: dotted name; the model's own, "", stands for whatever runs first without gradients.
    """
    begun: list[tuple[nn.Module, bool]] = []
    found: list[str] = []
    wanted = double.get_submodule(layer) if layer else None

    def before(module: nn.Module, args: Any) -> None:
        begun.append((module, torch.is_grad_enabled()))

    def after(module: nn.Module, args: Any, output: Any) -> None:
        begun.pop()
        if not torch.is_grad_enabled() and wanted in (None, module):
            what = "torch.inference_mode()" if torch.is_inference_mode_enabled() else "torch.no_grad()"
            around = next((type(outer).__name__ for outer, recorded in reversed(begun) if recorded), None)
            found.append(what if around is None else f"{what} in {around}.forward")

    handles = []
    try:
        for module in double.modules():
            handles += [pre_hook(module, before), hook(module, after)]
        with torch.enable_grad():
            call()
    finally:
        for handle in handles:
            handle.remove()
    return found[0] if found else None
