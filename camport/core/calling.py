"""Calling a model, with errors that say what is wrong with the images where that can be told."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from camport.core.adapter import Adapter
from camport.errors import CamportError, ModelError


def called(adapter: Adapter, double: nn.Module, images: Tensor, target: Mapping[str, Tensor]) -> Any:
    """What the model says about a target; ModelError where it fails, naming what is wrong with the images."""
    return _diagnosed(lambda: adapter.ask(double, images, target), double, images)


def prepared(adapter: Adapter, double: nn.Module, target: Any, images: Tensor) -> dict[str, Tensor]:
    """The user's target as tensors, where the model may be called for what was left out; errors as `called`."""
    with torch.no_grad():
        return _diagnosed(lambda: adapter.prepare_for(double, target, images), double, images)


def _diagnosed(call: Callable[[], Any], double: nn.Module, images: Tensor) -> Any:
    try:
        return call()
    except CamportError:
        raise
    except (RuntimeError, ValueError, TypeError, IndexError, AssertionError) as error:
        raise ModelError(_diagnose(double, images, error)) from error


def _diagnose(model: nn.Module, images: Tensor, error: Exception) -> str:
    shape = tuple(images.shape)
    conv = next((m for m in model.modules() if isinstance(m, nn.Conv2d)), None)
    if conv is not None and conv.in_channels != images.shape[1]:
        return f"images {shape} have {images.shape[1]} channels, the model's first convolution takes {conv.in_channels}"
    first_line = str(error).strip().split("\n")[0]
    return f"{type(model).__name__} could not be run on images {shape}: {type(error).__name__}: {first_line}"


def without_graph(outputs: Any) -> Any:
    """The model's outputs detached; a tensor that stands in two places, as in BLIP's outputs, is one tensor still."""
    seen: dict[int, Tensor] = {}

    def detached(value: Any) -> Any:
        return seen.setdefault(id(value), value.detach()) if isinstance(value, Tensor) else value

    return tree_map(detached, outputs)
