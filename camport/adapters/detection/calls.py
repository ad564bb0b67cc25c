"""How a detector is called so that what it says keeps its gradient,
and the wrappers it may stand in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from camport.adapters.detection import torchvision_one_stage, torchvision_two_stage
from camport.adapters.detection.candidates import Candidates
from camport.adapters.detection.joins import Joins
from camport.errors import ModelError

WRAPPERS = ("predictor", "dmb", "pt")
"""Attributes of the classes in which YOLO packages hold a network for prediction: they prepare
images, run without gradients and suppress overlapping boxes."""

Caller = Callable[[nn.Module, Tensor, Mapping[str, Tensor] | None], Any]


@dataclass(frozen=True)
class Seen:
    """What a detector said, and of images of which size, (height, width);
    a container to torch's tree functions.

    `joins` are the sizes of the parts of which tensors were put together, as long as a form is not
    settled. `read` keeps what was read out of it, since several questions are asked of one answer.
    """

    outputs: Any
    size: tuple[int, int]
    joins: frozenset[tuple[int, ...]] = frozenset()
    read: dict[Any, Candidates] = field(default_factory=dict, repr=False, compare=False)


torch.utils._pytree.register_pytree_node(
    Seen,
    lambda seen: ([seen.outputs], (seen.size, seen.joins)),
    lambda children, rest: Seen(next(iter(children)), *rest),
)


def inner_model(model: nn.Module) -> nn.Module:
    """The network inside predictors and other wrappers; the model itself where it is none.

    A wrapper holds a network as `model` and has one of WRAPPERS; a network's own `model` is a
    sequence of layers.

    Raises:
        ModelError: the wrapper holds a network that is no torch module (an exported file).
    """
    for _ in range(4):
        held = getattr(model, "model", None)
        if isinstance(held, nn.Sequential | nn.ModuleList) or not any(
            hasattr(model, name) for name in WRAPPERS
        ):
            return model
        if not isinstance(held, nn.Module):
            raise ModelError(
                f"{type(model).__name__} holds {type(held).__name__} as its network, not a"
                " torch.nn.Module; load the weights in PyTorch, or give the path of an .onnx file"
            )
        model = held
    return model


def caller(model: nn.Module) -> Caller:
    """The function that calls this model."""
    if torchvision_one_stage.is_one_stage(model):
        return torchvision_one_stage.call
    if torchvision_two_stage.is_two_stage(model):
        return torchvision_two_stage.call
    return _plain


def seen(
    model: nn.Module, images: Tensor, target: Mapping[str, Tensor] | None, settled: bool
) -> Seen:
    """What the model says of the images; how its tables are put together,
    as long as that is not settled."""
    size = (images.shape[-2], images.shape[-1])
    if settled:
        return Seen(caller(model)(model, images, target), size)
    with Joins() as joins:
        outputs = caller(model)(model, images, target)
    return Seen(outputs, size, frozenset(joins.found))


def _plain(model: nn.Module, images: Tensor, target: Mapping[str, Tensor] | None) -> Any:
    return model(images)
