"""The demo's segmentation network: the classifier's trunk and three steps up, one class a pixel."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from camport.demo.captioner import Encoder
from camport.demo.scenes import LABELS

CLASSES = ("background", *LABELS)
"""The classes of a pixel."""


class Segmenter(nn.Module):
    """Maps of stride 8, 4 and 2, joined from the coarse to the fine (FPN, Lin et al. 2016, arXiv
    1612.03144).

    As torchvision's segmentation models it returns {"out": logits}, at the size of the images.
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.encoder = Encoder()
        self.deep = nn.Sequential(
            nn.Conv2d(96, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        )
        self.middle = nn.Sequential(
            nn.Conv2d(48, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        )
        self.fine = nn.Sequential(
            nn.Conv2d(24, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        )
        self.join = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        )
        self.classes = nn.Conv2d(width, len(CLASSES), 1)

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> dict[str, Tensor]:
        """Logits [b,11,h,w] under "out"."""
        encoder = self.encoder
        first = encoder.layer1(encoder.relu(encoder.bn1(encoder.conv1(images))))
        second = encoder.layer2(first)
        x = self.middle(second) + _twice(self.deep(encoder.layer3(second)))
        x = self.fine(first) + _twice(self.join(x))
        return {"out": _twice(self.classes(torch.relu(x)))}


def _twice(maps: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
    return F.interpolate(maps, scale_factor=2, mode="bilinear", align_corners=False)
