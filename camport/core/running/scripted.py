"""TorchScript inside a model: what runs there runs outside of Python,
where no hook and no rule reaches."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from camport.errors import LayerError

RELUS = ("relu", "relu_", "relu6", "relu6_", "hardtanh", "hardtanh_")
"""Names of the operators that a ReLU rule would replace."""


def visible_modules(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """`named_modules` without those that take no hooks: scripted ones,
    and all inside scripted and traced ones."""
    hidden = ""
    for name, module in model.named_modules():
        if hidden and name.startswith(hidden):
            continue
        if isinstance(module, torch.jit.ScriptModule):
            hidden = f"{name}." if name else ""
            if not name:
                yield name, module
                return
            if isinstance(module, torch.jit.RecursiveScriptModule):  # type: ignore[attr-defined]
                continue
        yield name, module


def check_visible(model: nn.Module, layer: str) -> None:
    """Refuses a layer that TorchScript hides.

    Raises:
        LayerError: names it and what to explain instead.
    """
    if any(name == layer for name, _ in visible_modules(model)):
        return
    raise LayerError(
        f"layer {layer!r} is TorchScript, which takes no hooks, so nothing is seen of it: give the"
        " nn.Module that it was made of, or use a method without layers (saliency, occlusion)"
    )


def hidden_relus(model: nn.Module) -> list[str]:
    """Names of the outermost TorchScript modules in which a ReLU runs; the model itself is ''."""
    found: list[str] = []
    for name, module in model.named_modules():
        if not isinstance(module, torch.jit.ScriptModule) or any(
            _inside(name, outer) for outer in found
        ):
            continue
        if _runs_relu(module.inlined_graph):
            found.append(name)
    return found


def _inside(name: str, outer: str) -> bool:
    return not outer or name.startswith(f"{outer}.")


def _runs_relu(block: Any) -> bool:
    """Whether a graph, or a branch or loop within it, runs a ReLU."""
    return any(
        node.kind().removeprefix("aten::") in RELUS
        or any(_runs_relu(inner) for inner in node.blocks())
        for node in block.nodes()
    )
