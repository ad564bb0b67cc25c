"""The network of an entry, with images of its size: its own weights,
or random ones that keep activations alive."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from camport.bench.plan import Network
from camport.errors import InputError
from camport.models import load_model

SIDE = 224
"""Of images of a network that does not say what it was trained with."""


@dataclass(frozen=True)
class Subject:
    """A network that is explained.

    Attributes:
        model: in evaluation mode.
        images: [b,c,H,W].
        layer: the target layer where the one that would be chosen is not the best.
    """

    model: nn.Module
    images: Tensor
    layer: str | None


def subject(network: Network, batch: int, device: str = "cpu") -> Subject:
    """The network and a batch of images, the same on every call.

    Raises:
        InputError: a network that is no classifier.
        CamportError: it cannot be loaded.
    """
    torch.manual_seed(0)
    loaded = load_model(network.spec, network.weights)
    if loaded.adapter != "classification":
        raise InputError(
            f"{network.spec} is a model for {loaded.adapter}; camport bench measures classifiers"
        )
    size = (network.size,) * 2 if network.size else loaded.preprocess.size or (SIDE, SIDE)
    model = loaded.model
    shape = (loaded.preprocess.channels, *size)
    if network.weights == "none":
        awake(model, torch.randn(4, *shape))  # one image may leave one value a channel
    images = torch.randn(batch, *shape, generator=torch.Generator().manual_seed(1))
    return Subject(model.to(device), images.to(device), loaded.layer)


def awake(model: nn.Module, images: Tensor) -> nn.Module:
    """`model` with batch-norm that really scales and shifts,
    with statistics of its own activations.

    Fresh batch-norm is the identity: an exporter that drops it would go unnoticed, and activations
    die or explode on their way through a deep random network.
    """
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    model.eval()
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        nn.init.uniform_(norm.weight, 0.7, 1.3)
        nn.init.normal_(norm.bias, 0.0, 0.2)
        norm.momentum = 1.0
        norm.train()
    if norms:
        with torch.no_grad():
            model(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return model.eval()
