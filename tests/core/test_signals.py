"""Networks of images that go on with a signal [b,c,n]: its places are a row,
whatever number of them there is."""

import pytest
import torch
from torch import nn

import camport
from camport.plugins.hirescam import HiResCAM
from tests.nets import seeded


class Spectrogram(nn.Module):
    """A spectrogram [b,1,F,T], then a signal along T; of 16 places, which are 1 + 3 * 5 as well."""

    def __init__(self, pointwise=False):
        super().__init__()
        self.front = nn.Sequential(
            nn.Conv2d(1, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU()
        )
        self.along = nn.Conv1d(8, 16, 1 if pointwise else 3, padding=0 if pointwise else 1)
        self.norm, self.act, self.head = nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 4)

    def forward(self, x):
        return self.head(self.act(self.norm(self.along(self.front(x).mean(2)))).square().mean(2))


@pytest.mark.parametrize("layer", ["along", "norm", "act"])
@pytest.mark.parametrize("size", [(32, 64), (40, 64), (64, 64), (48, 100), (64, 36)])
@pytest.mark.parametrize("pointwise", [False, True])
def test_a_signal_is_a_row(layer, size, pointwise):
    x = torch.randn(2, 1, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    net, kept = seeded(Spectrogram(pointwise)), []
    with torch.no_grad():
        net.norm.bias[:3] = -9  # channels that no image moves are no tokens of a text
    found = camport.explain(net, x, HiResCAM(relu=False), 1, layer)
    with net.get_submodule(layer).register_forward_hook(
        lambda module, args, output: kept.append(output)
    ):
        y = net(x)[:, 1].sum()
    (g,) = torch.autograd.grad(y, kept[0])
    torch.testing.assert_close(found.raw, (kept[0] * g).sum(1)[:, None].detach())
