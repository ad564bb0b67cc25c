"""Where a model itself switches gradients off, so that no path leads back from the score."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from camport.core.running.recorder import Ran, Recorder


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
            what = "torch.inference_mode()" if torch.is_inference_mode_enabled() else "torch.no_grad()"
            around = next((type(outer).__name__ for outer, recorded in reversed(ran.around) if recorded), None)
            found.append(what if around is None else f"{what} in {around}.forward")

    with Recorder(double, ended, lambda module, args: torch.is_grad_enabled(), root=True), torch.enable_grad():
        call()
    return found[0] if found else None
