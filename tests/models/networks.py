"""Small networks of the kinds people export, with weights and statistics that are awake,
as files of both exporters."""

import warnings
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn


def awake(model: nn.Module, seed: int = 0) -> nn.Module:
    """Every parameter and statistic drawn at random:
    a fresh batch norm is nearly the identity and hides mistakes."""
    generator = torch.Generator().manual_seed(seed)
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.copy_(torch.randn(part.running_mean.shape, generator=generator) * 0.1)
            part.running_var.copy_(torch.rand(part.running_var.shape, generator=generator) + 0.5)
            part.weight.data.copy_(torch.rand(part.weight.shape, generator=generator) + 0.5)
            part.bias.data.copy_(torch.randn(part.bias.shape, generator=generator) * 0.1)
    for parameter in model.parameters():
        if not parameter.detach().any():
            parameter.data.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return model.eval()


class ConvUnit(nn.Module):
    def __init__(self, cin: int, cout: int, kernel: int = 1, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(cin, cout, kernel, stride, kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(cout)

    def forward(self, x):
        return F.silu(self.norm(self.conv(x)))


class Partial(nn.Module):
    """Half of the channels go through a residual block, and both are joined."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.enter, self.leave = ConvUnit(channels, channels), ConvUnit(channels * 3 // 2, channels)
        self.inner = nn.Sequential(
            ConvUnit(channels // 2, channels // 2, 3), ConvUnit(channels // 2, channels // 2, 3)
        )

    def forward(self, x):
        a, b = self.enter(x).chunk(2, 1)
        return self.leave(torch.cat([a, b, b + self.inner(b)], 1))


class Pyramid(nn.Module):
    """The same pooling three times, all of its results joined."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.enter, self.leave = ConvUnit(channels, channels // 2), ConvUnit(channels * 2, channels)
        self.pool = nn.MaxPool2d(5, 1, 2)

    def forward(self, x):
        parts = [self.enter(x)]
        for _ in range(3):
            parts.append(self.pool(parts[-1]))
        return self.leave(torch.cat(parts, 1))


class Detector(nn.Module):
    """A detector in the manner of today's: a pyramid of features, and boxes decoded on a grid. [b,
    4 + classes, n]."""

    def __init__(self, classes: int = 3, bins: int = 4) -> None:
        super().__init__()
        self.bins, self.classes = bins, classes
        self.stem = nn.Sequential(ConvUnit(3, 8, 3, 2), ConvUnit(8, 16, 3, 2), Partial(16))
        self.deep = nn.Sequential(ConvUnit(16, 32, 3, 2), Partial(32), Pyramid(32))
        self.up = nn.Upsample(scale_factor=2, mode="nearest")
        self.neck = nn.Sequential(ConvUnit(48, 16), Partial(16))
        self.heads = nn.ModuleList(nn.Conv2d(c, 4 * bins + classes, 1) for c in (16, 32))
        self.register_buffer(
            "places", torch.arange(bins, dtype=torch.float32).reshape(1, bins, 1, 1)
        )

    def forward(self, x):
        shallow = self.stem(x)
        deep = self.deep(shallow)
        shallow = self.neck(torch.cat([self.up(deep), shallow], 1))
        rows, centres, strides = [], [], []
        for head, features in zip(self.heads, (shallow, deep), strict=True):
            raw = head(features)
            stride = x.shape[-1] // features.shape[-1]
            h, w = features.shape[-2:]
            rows.append(raw.reshape(x.shape[0], 4 * self.bins + self.classes, -1))
            ys, xs = torch.meshgrid(torch.arange(h) + 0.5, torch.arange(w) + 0.5, indexing="ij")
            centres.append(torch.stack([xs.flatten(), ys.flatten()]))
            strides.append(torch.full((h * w,), float(stride)))
        both, centre, stride = torch.cat(rows, 2), torch.cat(centres, 1), torch.cat(strides)
        boxes, scores = both.split([4 * self.bins, self.classes], 1)
        sides = boxes.reshape(x.shape[0], 4, self.bins, -1).transpose(1, 2).softmax(1)
        left, right = ((sides * self.places).sum(1)).chunk(2, 1)
        low, high = centre - left, centre + right
        return torch.cat(
            [torch.cat([(low + high) / 2, high - low], 1) * stride, scores.sigmoid()], 1
        )


def export(
    model: nn.Module,
    images: torch.Tensor,
    path: Path,
    dynamo: bool,
    dynamic: bool = True,
    opset: int = 18,
):
    """Writes the file with PyTorch's newer or older exporter."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if dynamo:
            shapes = ({0: torch.export.Dim("b")},) if dynamic else None
            torch.onnx.export(
                model,
                (images,),
                str(path),
                dynamo=True,
                dynamic_shapes=shapes,
                verbose=False,
                opset_version=opset,
            )
        else:
            axes = {"images": {0: "b"}} if dynamic else None
            torch.onnx.export(
                model,
                (images,),
                str(path),
                dynamo=False,
                input_names=["images"],
                dynamic_axes=axes,
                opset_version=opset,
            )
