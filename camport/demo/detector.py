"""The demo's detector: a small network in the manner of YOLOv5, written for digit scenes.

CSP blocks, spatial pyramid pooling, a path down and up again, three levels with three anchors each,
and a score for "there is an object here" beside the ten classes. Levels have strides 4, 8 and 16,
since a scene's side is 128.

In evaluation mode it answers in YOLOv5's form: boxes and probabilities [b,n,5+k] of all candidates,
and the raw maps of the levels, [b,3,h,w,5+k] each.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from camport.demo.networks import WEIGHTS, Network

STRIDES = (4, 8, 16)
ANCHORS = (
    ((16.0, 30.0), (21.0, 33.0), (22.0, 40.0)),
    ((25.0, 36.0), (25.0, 47.0), (29.0, 41.0)),
    ((32.0, 46.0), (31.0, 52.0), (38.0, 51.0)),
)
"""Width and height in pixels: three shapes a level,
the means of nine clusters of the training scenes' boxes."""


class Convolution(nn.Module):
    """A convolution that keeps sizes where its stride is 1, batch normalisation, SiLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(outputs)
        self.act = nn.SiLU()

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        """The activated maps."""
        return self.act(self.bn(self.conv(x)))


class Bottleneck(nn.Module):
    """A 1x1 and a 3x3 convolution, with a shortcut around them where asked for."""

    def __init__(self, channels: int, shortcut: bool) -> None:
        super().__init__()
        self.reduce = Convolution(channels, channels)
        self.spread = Convolution(channels, channels, 3)
        self.shortcut = shortcut

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The maps, added to where they came from or not."""
        out = self.spread(self.reduce(x))
        return x + out if self.shortcut else out


class CrossStage(nn.Module):
    """A cross-stage partial block: half of the channels pass a bottleneck, half pass by,
    and both are mixed."""

    def __init__(self, inputs: int, outputs: int, shortcut: bool = True) -> None:
        super().__init__()
        half = outputs // 2
        self.through = Convolution(inputs, half)
        self.past = Convolution(inputs, half)
        self.block = Bottleneck(half, shortcut)
        self.mix = Convolution(2 * half, outputs)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h w"]:
        """The mixed maps."""
        return self.mix(torch.cat([self.block(self.through(x)), self.past(x)], 1))


class PyramidPooling(nn.Module):
    """Spatial pyramid pooling, the fast form: one max-pooling three times over,
    all four stages mixed."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.reduce = Convolution(channels, half)
        self.pool = nn.MaxPool2d(5, 1, 2)
        self.mix = Convolution(4 * half, channels)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The mixed maps."""
        stages = [self.reduce(x)]
        for _ in range(3):
            stages.append(self.pool(stages[-1]))
        return self.mix(torch.cat(stages, 1))


class Head(nn.Module):
    """One 1x1 convolution a level, and from its numbers the candidates' boxes and probabilities.

    With s the logistic function and t the raw numbers of a candidate in the cell (i, j) of stride
    r: its centre is ((2 s(t0) - 0.5 + j) r, (2 s(t1) - 0.5 + i) r), its width and height (2
    s(t2))^2 and (2 s(t3))^2 times the anchor's, s(t4) the probability of an object, s(t5), ...
    those of the classes.
    """

    def __init__(self, channels: Sequence[int], classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.anchors: Tensor
        self.register_buffer("anchors", torch.tensor(ANCHORS), persistent=False)
        self.levels = nn.ModuleList(nn.Conv2d(c, 3 * (5 + classes), 1) for c in channels)

    def forward(
        self, maps: Sequence[Float[Tensor, "b c h w"]]
    ) -> list[Tensor] | tuple[Float[Tensor, "b n values"], list[Tensor]]:
        """The raw maps; in evaluation mode the candidates and the raw maps."""
        raw = []
        for level, x in zip(self.levels, maps, strict=True):
            numbers = level(x)
            b, _, h, w = numbers.shape
            raw.append(numbers.reshape(b, 3, 5 + self.classes, h, w).permute(0, 1, 3, 4, 2))
        if self.training:
            return raw
        return torch.cat([self.decode(t, i).flatten(1, 3) for i, t in enumerate(raw)], 1), raw

    def decode(
        self, raw: Float[Tensor, "b 3 h w values"], level: int
    ) -> Float[Tensor, "b 3 h w values"]:
        """Centre, width and height in pixels, then the probabilities."""
        h, w = raw.shape[2:4]
        rows = torch.arange(h, device=raw.device, dtype=raw.dtype)[:, None, None].expand(h, w, 1)
        columns = torch.arange(w, device=raw.device, dtype=raw.dtype)[None, :, None].expand(h, w, 1)
        anchors = self.anchors[level].to(raw.dtype)[:, None, None]
        s = raw.sigmoid()
        centre = (2 * s[..., :2] - 0.5 + torch.cat([columns, rows], 2)) * STRIDES[level]
        size = (2 * s[..., 2:4]) ** 2 * anchors
        return torch.cat([centre, size, s[..., 4:]], 4)


class DigitDetector(nn.Module):
    """Finds digits: images [b,3,H,W], with H and W multiples of 16,
    to the candidates of three levels."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.stem = Convolution(3, 16, 5, 2)
        self.down2 = Convolution(16, 32, 3, 2)
        self.stage2 = CrossStage(32, 32)
        self.down3 = Convolution(32, 64, 3, 2)
        self.stage3 = CrossStage(64, 64)
        self.down4 = Convolution(64, 96, 3, 2)
        self.stage4 = CrossStage(96, 96)
        self.pooling = PyramidPooling(96)
        self.narrow4 = Convolution(96, 64)
        self.up3 = CrossStage(128, 64, shortcut=False)
        self.narrow3 = Convolution(64, 48)
        self.up2 = CrossStage(80, 48, shortcut=False)
        self.again3 = Convolution(48, 48, 3, 2)
        self.out3 = CrossStage(96, 64, shortcut=False)
        self.again4 = Convolution(64, 64, 3, 2)
        self.out4 = CrossStage(128, 96, shortcut=False)
        self.upsample = nn.Upsample(scale_factor=2, mode="nearest")
        self.head = Head((48, 64, 96), classes)

    def forward(
        self, images: Float[Tensor, "b 3 h w"]
    ) -> list[Tensor] | tuple[Tensor, list[Tensor]]:
        """The raw maps of the levels; in evaluation mode the candidates [b,n,5+k] and the raw
        maps."""
        c2 = self.stage2(self.down2(self.stem(images)))
        c3 = self.stage3(self.down3(c2))
        c4 = self.pooling(self.stage4(self.down4(c3)))
        n4 = self.narrow4(c4)
        n3 = self.narrow3(self.up3(torch.cat([self.upsample(n4), c3], 1)))
        p2 = self.up2(torch.cat([self.upsample(n3), c2], 1))
        p3 = self.out3(torch.cat([self.again3(p2), n3], 1))
        p4 = self.out4(torch.cat([self.again4(p3), n4], 1))
        return self.head([p2, p3, p4])


CARD = Network(DigitDetector, layer="", input_size=128)
"""What a user must know; the layers are the head's inputs, which the adapter finds."""


def load() -> nn.Module:
    """The trained detector, in eval mode and float32."""
    from safetensors.torch import load_file

    network = DigitDetector()
    network.load_state_dict(load_file(WEIGHTS / "detector.safetensors"))
    return network.eval()
