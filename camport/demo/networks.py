"""The demo's classifiers: small, trained on digit scenes, shipped with the package.

Each has ten logits, one a digit class, trained as presence (binary cross-entropy): the logit of the
seven speaks of sevens alone, so a map for target 7 must lie on the sevens and on nothing else.

`gap-pool` and `gap-full` are the pair of the class activation map experiment (Zhou et al. 2016,
arXiv 1512.04150): three convolutions, global average pooling and one linear layer, with max-pooling
between the convolutions and without. Without it the maps have the input's resolution and need no
upsampling.

`vit` is torchvision's vision transformer, for the methods that read attention.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from jaxtyping import Float
from torch import Tensor, nn

from camport.errors import UnknownNameError

LABELS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
WEIGHTS = Path(__file__).parent / "weights"


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut; names as in torchvision's BasicBlock."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Float[Tensor, "b k h w"]) -> Float[Tensor, "b k2 h2 w2"]:
        """The residual sum after its ReLU."""
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.relu(out + shortcut)


class DigitResNet(nn.Module):
    """A small ResNet of stride 8: maps are 16x16 at 128 pixels.

    The receptive field of `layer3` is 49 pixels and the largest digit 54: what the last map says of
    a place is about the digit there.
    """

    def __init__(self, classes: int = len(LABELS)) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 24, 5, 2, 2, bias=False)
        self.bn1 = nn.BatchNorm2d(24)
        self.relu = nn.ReLU()
        self.layer1 = nn.Sequential(BasicBlock(24, 24, 1))
        self.layer2 = nn.Sequential(BasicBlock(24, 48, 2))
        self.layer3 = nn.Sequential(BasicBlock(48, 96, 2))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(96, classes)

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b classes"]:
        """One logit a class."""
        x = self.relu(self.bn1(self.conv1(images)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(self.avgpool(x).flatten(1))


class PoolingCAMNet(nn.Module):
    """Three convolutions with max-pooling between: maps of stride 4, 16x16 at 64 pixels."""

    def __init__(self, classes: int = len(LABELS)) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *_convolution(3, 32, 1),
            nn.MaxPool2d(2),
            *_convolution(32, 64, 1),
            nn.MaxPool2d(2),
            *_convolution(64, 128, 1),
        )
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(128, classes)

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b classes"]:
        """One logit a class."""
        return self.fc(self.avgpool(self.features(images)).flatten(1))


class FullResolutionCAMNet(nn.Module):
    """`PoolingCAMNet` with its poolings taken out: convolutions dilated by 1, 2 and 4,
    maps of the input's size.

    Its tensors have the names and shapes of the pooling network's, whose weights it starts training
    from. Dilation leaves a grid in its maps: adjacent pixels share none of the last convolution's
    inputs.
    """

    def __init__(self, classes: int = len(LABELS)) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *_convolution(3, 32, 1),
            nn.Identity(),
            *_convolution(32, 64, 2),
            nn.Identity(),
            *_convolution(64, 128, 4),
        )
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(128, classes)

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b classes"]:
        """One logit a class."""
        return self.fc(self.avgpool(self.features(images)).flatten(1))


def digit_transformer(classes: int = len(LABELS)) -> nn.Module:
    """torchvision's VisionTransformer, small: four blocks of width 64 over 8x8 tokens of 8 pixels
    at 64 pixels.

    A stem of convolutions in place of one large patch projection (Xiao et al. 2021, arXiv
    2106.14881). They have the shapes of `PoolingCAMNet`'s, from whose weights training starts, and
    strides in place of its poolings.
    """
    from torchvision.models.vision_transformer import ConvStemConfig, VisionTransformer

    stem = [ConvStemConfig(channels, kernel_size=5, stride=2) for channels in (32, 64, 128)]
    return VisionTransformer(64, 8, 4, 4, 64, 128, num_classes=classes, conv_stem_configs=stem)


def _convolution(
    inputs: int, outputs: int, dilation: int
) -> tuple[nn.Module, nn.Module, nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, 5, padding=2 * dilation, dilation=dilation, bias=False)
    return convolution, nn.BatchNorm2d(outputs), nn.ReLU()


@dataclass(frozen=True)
class Network:
    """What a user of a shipped network must know.

    Attributes:
        factory: makes the network with random weights.
        layer: the layer whose maps are explained.
        input_size: height and width it was trained on.
        mean, std: a channel's, for images in 0..1: the network takes `(image - mean) / std`.
        labels: the classes' names in the order of the logits.
    """

    factory: Callable[[], nn.Module]
    layer: str
    input_size: int
    mean: tuple[float, float, float] = (0.507, 0.470, 0.459)
    std: tuple[float, float, float] = (0.211, 0.213, 0.212)
    labels: tuple[str, ...] = LABELS


NETWORKS: dict[str, Network] = {
    "digits": Network(DigitResNet, layer="layer3", input_size=128),
    "gap-pool": Network(PoolingCAMNet, layer="features", input_size=64),
    "gap-full": Network(FullResolutionCAMNet, layer="features", input_size=64),
    "vit": Network(digit_transformer, layer="encoder.layers.encoder_layer_3.ln_1", input_size=64),
}


def load(name: str) -> nn.Module:
    """The trained network of this name, in eval mode and float32.

    Raises:
        UnknownNameError: a name that NETWORKS does not have.
    """
    if name not in NETWORKS:
        raise UnknownNameError("demo network", name, NETWORKS)
    from safetensors.torch import load_file

    network = NETWORKS[name].factory()
    # Stored in half precision; copying into the network's own tensors widens them again.
    network.load_state_dict(load_file(WEIGHTS / f"{name}.safetensors"))
    return network.eval()
