"""The networks that must export: what makes each, its last and a middle layer,
and the ratios that are aimed at."""

from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatch
from typing import Any

import torch
from torch import Tensor, nn

from camport.bench.networks import awake


@dataclass(frozen=True)
class Network:
    """One architecture and the two layers it is explained at.

    Attributes:
        name: "library/architecture".
        last, middle: dotted module names.
        size: height and width of the image.
        limits: the ratio of CPU times aimed at, by layer.
    """

    name: str
    last: str
    middle: str
    size: int = 224
    limits: dict[str, float] = field(default_factory=dict)

    @property
    def layers(self) -> tuple[str, str]:
        """The last layer, then the middle one."""
        return self.last, self.middle


NETWORKS = (
    Network("torchvision/alexnet", "features.11", "features.4"),
    Network("torchvision/vgg11_bn", "features.27", "features.13"),
    Network("torchvision/vgg16", "features.29", "features.16", limits={"features.29": 1.12}),
    Network("torchvision/vgg19", "features.35", "features.17"),
    Network("torchvision/resnet18", "layer4", "layer2"),
    Network("torchvision/resnet34", "layer4", "layer2"),
    Network("torchvision/resnet50", "layer4", "layer2", limits={"layer4": 1.05, "layer2": 1.65}),
    Network("torchvision/resnext50_32x4d", "layer4", "layer2"),
    Network("torchvision/wide_resnet50_2", "layer4", "layer2"),
    Network("torchvision/squeezenet1_1", "features.12", "features.7"),
    Network(
        "torchvision/densenet121", "features", "features.denseblock2", limits={"features": 1.05}
    ),
    Network("torchvision/googlenet", "inception5b", "inception4a", limits={"inception4a": 2.0}),
    Network("torchvision/inception_v3", "Mixed_7c", "Mixed_6a", size=299),
    Network("torchvision/mobilenet_v2", "features.18", "features.7"),
    Network("torchvision/mobilenet_v3_small", "features.12", "features.4"),
    Network(
        "torchvision/mobilenet_v3_large",
        "features.16",
        "features.6",
        limits={"features.16": 1.12, "features.6": 2.0},
    ),
    Network("torchvision/shufflenet_v2_x1_0", "conv5", "stage2"),
    Network("torchvision/mnasnet1_0", "layers.16", "layers.10"),
    Network("torchvision/efficientnet_b0", "features.8", "features.4", limits={"features.8": 1.05}),
    Network("torchvision/efficientnet_v2_s", "features.7", "features.3"),
    Network("torchvision/regnet_x_400mf", "trunk_output.block4", "trunk_output.block2"),
    Network("torchvision/regnet_y_400mf", "trunk_output.block4", "trunk_output.block2"),
    Network(
        "torchvision/convnext_tiny",
        "features.7",
        "features.3",
        limits={"features.7": 1.05, "features.3": 1.65},
    ),
    Network("torchvision/swin_t", "features.7", "features.3", limits={"features.7": 1.05}),
    Network("torchvision/swin_v2_t", "features.7", "features.3"),
    Network(
        "torchvision/vit_b_16",
        "encoder.layers.encoder_layer_11.ln_1",
        "encoder.layers.encoder_layer_6",
        limits={
            "encoder.layers.encoder_layer_11.ln_1": 1.12,
            "encoder.layers.encoder_layer_6": 1.65,
        },
    ),
    Network("torchvision/maxvit_t", "blocks.3", "blocks.1"),
    Network("timm/resnet50d", "layer4", "layer2"),
    Network("timm/efficientnet_lite0", "bn2", "blocks.2"),
    Network("timm/convnextv2_nano", "stages.3", "stages.1"),
    Network("timm/deit_tiny_patch16_224", "blocks.11.norm1", "blocks.6"),
    Network("timm/mobilevit_s", "final_conv", "stages.2", size=256),
    Network("timm/repvgg_a0", "stages.3", "stages.1"),
    Network("timm/ghostnetv2_100", "blocks.9", "blocks.4"),
    Network("transformers/ResNet", "resnet.encoder.stages.3", "resnet.encoder.stages.1"),
    Network("transformers/ConvNext", "convnext.encoder.stages.3", "convnext.encoder.stages.1"),
    Network("transformers/ViT", "vit.layers.5.layernorm_before", "vit.layers.2"),
    Network("transformers/Swin", "swin.layernorm", "swin.encoder.layers.1"),
    Network("transformers/Dinov2", "dinov2.encoder.layer.5.norm1", "dinov2.encoder.layer.2"),
)

SMALL: dict[str, dict[str, Any]] = {
    "ResNet": {"embedding_size": 32, "hidden_sizes": [64, 128, 256, 512], "depths": [2, 2, 2, 2]},
    "ConvNext": {"hidden_sizes": [48, 96, 192, 384], "depths": [2, 2, 4, 2]},
    "ViT": {
        "hidden_size": 192,
        "num_hidden_layers": 6,
        "num_attention_heads": 3,
        "intermediate_size": 768,
    },
    "Swin": {"embed_dim": 48, "depths": [2, 2, 4, 2], "num_heads": [2, 4, 8, 16]},
    "Dinov2": {
        "hidden_size": 192,
        "num_hidden_layers": 6,
        "num_attention_heads": 3,
        "image_size": 224,
    },
}
"""The configurations of the classifiers of transformers."""


class Logits(nn.Module):
    """A classifier of transformers as a function of the images alone, for the bare file."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        """The logits [b,k]."""
        return self.model(images).logits


def named(patterns: str) -> list[Network]:
    """The networks that match one of the patterns, which commas separate: 'timm/*,resnet50'."""
    wanted = [pattern.strip() for pattern in patterns.split(",")]
    return [
        n
        for n in NETWORKS
        if any(fnmatch(n.name, p) or fnmatch(n.name.split("/")[1], p) for p in wanted)
    ]


def build(network: Network) -> nn.Module:
    """The network in eval mode with random weights, the same on every call."""
    torch.manual_seed(0)
    library, _, name = network.name.partition("/")
    return awake(stirred(_MAKERS[library](name)), torch.randn(4, 3, network.size, network.size))


def stirred(model: nn.Module) -> nn.Module:
    """`model` with no parameter at the neutral value that it is made with.

    A head of zeros gives gradients of zeros, and a block scaled by 10⁻⁶ could be dropped unnoticed.
    """
    for parameter in model.parameters():
        values = parameter.detach()
        if values.numel() < 2 or bool((values != values.flatten()[0]).any()):
            continue
        value = float(values.flatten()[0])
        if value == 0:
            nn.init.normal_(parameter, std=0.1 if parameter.dim() == 1 else 0.02)
        elif value == 1:
            nn.init.uniform_(parameter, 0.7, 1.3)
        elif abs(value) < 1e-2:
            nn.init.uniform_(parameter, 0.1, 0.5)
    return model


def _torchvision(name: str) -> nn.Module:
    import torchvision

    options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    return getattr(torchvision.models, name)(weights=None, **options)


def _timm(name: str) -> nn.Module:
    import timm

    return timm.create_model(name, pretrained=False)


def _transformers(name: str) -> nn.Module:
    import transformers

    config = getattr(transformers, f"{name}Config")(num_labels=1000, **SMALL[name])
    return getattr(transformers, f"{name}ForImageClassification")(config)


_MAKERS: dict[str, Callable[[str], nn.Module]] = {
    "torchvision": _torchvision,
    "timm": _timm,
    "transformers": _transformers,
}
