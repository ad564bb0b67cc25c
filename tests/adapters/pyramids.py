"""Small detectors whose heads are built as real families build them;
each knows the maps that its head takes in."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CLASSES = 3
CHANNELS = (8, 12, 16)


def block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1), nn.BatchNorm2d(outputs), nn.SiLU()
    )


class Attention(nn.Module):
    """Tokens of a map and back; without a shortcut, so that the map ends here and begins anew."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.qkv, self.proj = nn.Conv2d(channels, 3 * channels, 1), nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        q, k, v = self.qkv(x).view(b, 2, 3 * c // 2, h * w).split(c // 2, 2)
        weights = (q.transpose(2, 3) @ k).softmax(3)
        return self.proj((v @ weights.transpose(2, 3)).reshape(b, c, h, w))


class Trunk(nn.Module):
    """Three levels, and two that come down to the finer ones."""

    def __init__(self, attention: bool = True) -> None:
        super().__init__()
        self.stem = block(3, 8, 4)
        self.down = nn.ModuleList([block(8, 12, 2), block(12, 16, 2)])
        self.attention = Attention(16) if attention else nn.Identity()
        self.lateral = nn.ModuleList([block(16 + 12, 12), block(12 + 8, 8)])

    def forward(self, x: Tensor) -> list[Tensor]:
        fine = self.stem(x)
        middle = self.down[0](fine)
        coarse = self.attention(self.down[1](middle))
        middle = self.lateral[0](
            torch.cat([F.interpolate(coarse, size=middle.shape[2:]), middle], 1)
        )
        fine = self.lateral[1](torch.cat([F.interpolate(middle, size=fine.shape[2:]), fine], 1))
        return [fine, middle, coarse]


class Pyramid(nn.Module):
    """No module takes the levels together: a loop in `forward` does. Rows [b,n,4+k].

    Attributes:
        kind: "decoupled" has a branch for boxes and one for classes; "coupled" one convolution for
            both; "distances" a distribution of each side's distance, a level at a time; "split" the
            same behind one convolution; "last" branches whose channels come last; "shuffled"
            classes in a map of twice the size; "scaled" levels times a number; "pooled" a fourth
            level that a function pools; "shared" one head for all levels.
    """

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.trunk = kind, Trunk()
        channels = (*CHANNELS, 16) if kind == "pooled" else CHANNELS
        if kind == "shared":
            self.level = nn.ModuleList(nn.Conv2d(c, 8, 1) for c in channels)
            channels = (8,)
        sides = 4 * 5 if kind in ("distances", "split") else 4
        coupled = channels if kind in ("coupled", "split") else ()
        self.both = nn.ModuleList(
            nn.Sequential(block(c, 8), nn.Conv2d(8, sides + CLASSES, 1)) for c in coupled
        )
        self.boxes = nn.ModuleList(
            nn.Sequential(block(c, 8), nn.Conv2d(8, sides, 1)) for c in channels
        )
        self.classes = nn.ModuleList(
            nn.Sequential(block(c, 8), nn.Conv2d(8, CLASSES * (4 if kind == "shuffled" else 1), 1))
            for c in channels
        )
        self.scale = nn.Parameter(torch.tensor([0.7, 1.1, 1.6, 1.3]))
        self.register_buffer("steps", torch.arange(5.0))

    def forward(self, images: Tensor) -> Tensor:
        levels = self.trunk(images)
        if self.kind == "pooled":
            levels = [*levels, F.max_pool2d(levels[-1], 2, 2, ceil_mode=True)]
        if self.kind == "shared":
            levels = [conv(x) for conv, x in zip(self.level, levels, strict=True)]
        return torch.cat([self.rows(i, x) for i, x in enumerate(levels)], 1)

    def rows(self, i: int, x: Tensor) -> Tensor:
        b, _, h, w = x.shape
        if self.kind == "scaled":
            x = F.normalize(x) * self.scale[i]
        if self.kind in ("coupled", "split"):
            both = self.both[i](x)
            boxes, classes = both[:, :-CLASSES], both[:, -CLASSES:]
        else:
            i = 0 if self.kind == "shared" else i
            boxes, classes = self.boxes[i](x), self.classes[i](x)
        if self.kind in ("distances", "split"):
            bins = boxes.reshape(b, 4, 5, h * w).permute(0, 2, 1, 3).softmax(1)
            boxes = F.conv2d(bins, self.steps.view(1, 5, 1, 1)).reshape(b, 4, h * w)
        if self.kind == "shuffled":
            classes = (
                classes.view(b, CLASSES, 2, 2, h, w)
                .permute(0, 1, 4, 2, 5, 3)
                .reshape(b, CLASSES, 2 * h, 2 * w)
            )
            classes = F.avg_pool2d(classes, 2)
        if self.kind == "last":
            boxes, classes = (
                v.permute(0, 2, 3, 1).reshape(b, h * w, -1).transpose(1, 2)
                for v in (boxes, classes)
            )
        centre, sides = self.places(h, w).to(boxes), boxes.flatten(2).exp() * 8
        low, high = centre - sides[:, :2], centre + sides[:, 2:]
        table = torch.cat([(low + high) / 2, high - low, classes.flatten(2).sigmoid()], 1)
        return table.transpose(1, 2)

    @staticmethod
    def places(h: int, w: int) -> Tensor:
        y, x = torch.meshgrid(torch.arange(h) + 0.5, torch.arange(w) + 0.5, indexing="ij")
        return torch.stack([x.flatten() * 96 / w, y.flatten() * 64 / h])


class Projecting(nn.Module):
    """A head as RT-DETR's: it projects its levels, and reads rows of all of them together."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.ModuleList(nn.Conv2d(c, 8, 1, bias=False) for c in CHANNELS)
        self.mix, self.out = nn.Linear(8, 8), nn.Linear(8, 4 + CLASSES)

    def forward(self, levels: list[Tensor]) -> Tensor:
        rows = torch.cat(
            [conv(x).flatten(2) for conv, x in zip(self.project, levels, strict=True)], 2
        )
        mixed = self.out(self.mix(rows.transpose(1, 2)).tanh())
        return torch.cat([mixed[..., :4].exp() * 8, mixed[..., 4:].sigmoid()], 2)


class Headed(nn.Module):
    """A trunk, and a head that is one module."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.head = Trunk(), Projecting()

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.trunk(images))
