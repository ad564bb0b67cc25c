"""Models that compute with the frequencies of an image:
behind the inverse transform places are places again."""

import pytest
import torch
from torch import nn

import camport
from camport.errors import LayerError
from camport.plugins.hirescam import HiResCAM
from tests.core.test_turned import IMAGES, Inside
from tests.nets import seeded

METHOD = HiResCAM(relu=False)

FREQUENCIES = {
    "fft2": lambda x: torch.fft.fft2(x).abs().log1p(),
    "fftshift": lambda x: torch.fft.fftshift(torch.fft.fft2(x), dim=(2, 3)).abs().log1p(),
    "rfft": lambda x: torch.fft.rfft(x, dim=3).abs().log1p(),
    "fftn": lambda x: torch.view_as_real(torch.fft.fftn(x, dim=(-2, -1))).norm(dim=-1),
    "real and imaginary": lambda x: torch.fft.fft2(x).real + torch.fft.fft2(x).imag,
}


@pytest.mark.parametrize("which", FREQUENCIES)
@pytest.mark.parametrize("layer", [None, "features.2"])
def test_frequencies_are_no_places(which, layer):
    with pytest.raises(LayerError, match="made of a Fourier transform of the image"):
        camport.explain(
            seeded(Inside(FREQUENCIES[which])).double(), IMAGES, METHOD, layer=layer, target=1
        )


def smoothed(x):
    spectrum = torch.fft.rfft2(x)
    keep = torch.ones(spectrum.shape[-2:])
    keep[3:-3] = 0.25
    return torch.fft.irfft2(spectrum * keep, s=x.shape[-2:])


PLACES = {
    "a filter": smoothed,
    "beside the image": lambda x: x + torch.fft.fft2(x).abs().mean((2, 3), keepdim=True) / 100,
    "along the channels": lambda x: torch.fft.fft(x, dim=1).real,
}


@pytest.mark.parametrize("which", PLACES)
def test_behind_the_inverse_places_are_places(which):
    move = PLACES[which]
    found = camport.explain(
        seeded(Inside(move)).double(), IMAGES, METHOD, layer="features.2", target=1
    )
    plain = camport.explain(
        seeded(Inside()).double(), move(IMAGES), METHOD, layer="features.2", target=1
    )
    assert torch.allclose(found.raw, plain.raw, rtol=0, atol=1e-9)


class Mixer(nn.Module):
    """A global filter among tokens (GFNet, Rao et al. 2021)."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 8, 8), nn.LayerNorm(8)
        self.weight = nn.Parameter(
            torch.randn(8, 4, 8, 2, generator=torch.Generator().manual_seed(0))
        )
        self.act, self.head = nn.GELU(), nn.Linear(8, 5)

    def forward(self, x):
        t = self.norm(self.stem(x).permute(0, 2, 3, 1))
        w = torch.view_as_complex(self.weight)
        t = t + torch.fft.irfft2(torch.fft.rfft2(t, dim=(1, 2)) * w, s=t.shape[1:3], dim=(1, 2))
        return self.head(self.act(t).mean((1, 2)))


def test_a_global_filter_is_explained():
    model = seeded(Mixer()).double()
    found = camport.explain(model, IMAGES, METHOD, layer="act", target=1)
    maps = {}
    model.act.register_forward_hook(lambda module, args, output: maps.update(a=output))
    model(IMAGES)
    right = (maps["a"] * model.head.weight[1] / 48).sum(-1)
    assert found.raw.shape == (2, 8, 6)
    assert torch.allclose(found.raw, right, rtol=0, atol=1e-9)
