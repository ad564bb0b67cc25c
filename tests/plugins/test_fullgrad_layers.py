"""FullGrad counts every layer that adds a bias to its maps: each term written out by autograd."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import camport
from camport.errors import LayerError
from camport.export import to_onnx
from tests.nets import seeded


class NormAct(nn.BatchNorm2d):
    """A batch norm with its activation inside, as timm's."""

    def __init__(self, c):
        super().__init__(c)
        self.drop, self.act = nn.Identity(), nn.ReLU()

    def forward(self, x):
        return self.act(self.drop(super().forward(x)))


class Frozen(nn.Module):
    """A batch norm without parameters, as torchvision's detectors have it."""

    def __init__(self, c):
        super().__init__()
        self.eps = 1e-5
        for name in ("weight", "bias", "running_mean", "running_var"):
            self.register_buffer(name, torch.rand(c) + 0.5)

    def forward(self, x):
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        return x * scale[:, None, None] + (self.bias - self.running_mean * scale)[:, None, None]


class ChannelsLast(nn.LayerNorm):
    """A layer norm over channels of maps, as ConvNeXt's."""

    def forward(self, x):
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


KINDS = {
    "transposed": (lambda: nn.ConvTranspose2d(5, 5, 3, 2, 1, 1), lambda m: m.bias),
    "group": (lambda: nn.GroupNorm(1, 5), lambda m: m.bias),
    "instance": (lambda: nn.InstanceNorm2d(5, affine=True), lambda m: m.bias),
    "layer": (lambda: ChannelsLast(5), lambda m: m.bias),
    "layer over all": (lambda: nn.LayerNorm([5, 7, 6]), lambda m: m.bias),
    "frozen": (
        lambda: Frozen(5),
        lambda m: m.bias - m.running_mean * m.weight / (m.running_var + m.eps).sqrt(),
    ),
    "with activation": (
        lambda: NormAct(5),
        lambda m: m.bias - m.running_mean * m.weight / (m.running_var + m.eps).sqrt(),
    ),
}


def psi(part, size):
    """|.|, scaled channel by channel, at the images' size, summed over channels."""
    part = part.abs()
    low, high = part.amin((-2, -1), keepdim=True), part.amax((-2, -1), keepdim=True)
    span = torch.where(high > low, high - low, torch.ones_like(high))
    return F.interpolate(((part - low) / span)[None], size, mode="bilinear")[0].sum(0)


@pytest.mark.parametrize("kind", KINDS)
def test_every_layer_with_a_bias_has_a_map(kind):
    make, bias = KINDS[kind]
    layer = make()
    model = seeded(
        nn.Sequential(
            nn.Conv2d(3, 5, 3, padding=1), layer, nn.ReLU(), nn.Conv2d(5, 4, 3), nn.Flatten()
        )
    )
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(
                torch.randn(
                    p.shape, dtype=p.dtype, generator=torch.Generator().manual_seed(p.numel())
                )
                * 0.5
            )
    model[4] = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    x = torch.randn(1, 3, 7, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    kept = []
    biased = [
        (model[0], lambda m: m.bias),
        (getattr(layer, "drop", layer), bias),
        (model[3], lambda m: m.bias),
    ]
    handles = [m.register_forward_hook(lambda m, i, o: kept.append(o)) for m, _ in biased]
    leaf = x.clone().requires_grad_()
    y = model(leaf)[0, 2]
    gradients = torch.autograd.grad(y, [leaf, *kept])
    for handle in handles:
        handle.remove()
    owners = [model[0], layer, model[3]]
    wanted = psi(gradients[0][0] * x[0], (7, 6))
    for gradient, (_, of), owner in zip(gradients[1:], biased, owners, strict=True):
        b = of(owner).detach()
        wanted = wanted + psi(gradient[0] * (b if b.dim() == 3 else b[:, None, None]), (7, 6))
    found = camport.explain(model, x, "fullgrad", 2).raw[0]
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)


class Unused(nn.Module):
    """A network that runs a layer with a bias and leaves out what it gives."""

    def __init__(self) -> None:
        super().__init__()
        self.used = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU())
        self.unused, self.runs = nn.Conv2d(5, 4, 1), True
        self.head = nn.Linear(5, 4)

    def forward(self, x):
        maps = self.used(x)
        if self.runs:
            self.unused(maps)
        return self.head(maps.mean((2, 3)))


def test_a_layer_whose_output_nothing_uses_adds_nothing(tmp_path):
    torch.manual_seed(0)
    model, x = Unused().eval(), torch.rand(2, 3, 12, 12)
    bound = camport.bind(model, "fullgrad")
    found = bound(x, 2).raw
    model.runs = False
    assert torch.equal(found, camport.explain(model, x, "fullgrad", 2).raw)
    assert float(found.max()) > 0
    model.runs = True
    report = to_onnx(bound, tmp_path / "full.onnx", x)
    assert report.parity["heatmap"].holds
    with pytest.raises(LayerError, match="does not depend on layer 'unused'"):
        camport.explain(model, x, "layercam", 2, "unused")
