"""Calling a model, with errors that say what is wrong with the images where that can be told."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from camport.core.adapter import Adapter
from camport.errors import CamportError, ModelError


def called(adapter: Adapter, double: nn.Module, images: Tensor, target: Mapping[str, Tensor]) -> Any:
    """What the model says about a target; ModelError where it fails, with what is wrong with the images if it is they."""
    try:
        return adapter.ask(double, images, target)
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
