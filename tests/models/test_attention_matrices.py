"""Attention in a file: its matrices [b,heads,n,n] look like maps,
and are no layer that is chosen."""

import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import camport
from tests.nets import images, seeded


class Reader(nn.Module):
    """As text recognisers are: convolutions, attention along the line,
    and a convolution over its tokens."""

    def __init__(self, masked: bool) -> None:
        super().__init__()
        self.stem, self.features = nn.Conv2d(3, 6, 3, 2, 1), nn.Conv2d(6, 8, 3, 2, 1)
        self.qkv, self.proj = nn.Linear(8, 24), nn.Linear(8, 8)
        self.last, self.fc, self.masked = nn.Conv2d(8, 8, 1), nn.Linear(8, 4), masked

    def forward(self, x):
        maps = F.relu(self.features(F.relu(self.stem(x))))
        line = maps.mean(2).transpose(1, 2)
        q, k, v = self.qkv(line).unflatten(2, (3, 2, 4)).permute(2, 0, 3, 1, 4).unbind(0)
        scores = (q * 0.5) @ k.transpose(2, 3)
        scores = scores + torch.ones(scores.shape[2:]).triu() if self.masked else scores
        line = line + self.proj((scores.softmax(3) @ v).transpose(1, 2).flatten(2))
        return self.fc(F.relu(self.last(line.transpose(1, 2)[:, :, None])).mean((2, 3)))


@pytest.mark.parametrize("masked", [False, True])
def test_the_last_maps_of_the_image_are_chosen(tmp_path, masked):
    model, x = seeded(Reader(masked), dtype=torch.float32), images(2, (16, 48), torch.float32)
    path = tmp_path / "reader.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, of its older exporter
        torch.onnx.export(model, (x,), path, dynamo=False, input_names=["images"])
    bound = camport.bind(path, "hirescam")
    got = bound(x, 1)
    with torch.enable_grad():
        maps = F.relu(model.features(F.relu(model.stem(x)))).detach().requires_grad_()
        model.features = _Given(maps)
        (gradient,) = torch.autograd.grad(model(x)[:, 1].sum(), maps)
    assert got.activations[0].shape == (2, 8, 4, 12), bound.layers
    torch.testing.assert_close(
        got.raw, (gradient * maps).sum(1).relu().detach(), rtol=1e-4, atol=1e-6
    )


class _Given(nn.Module):
    def __init__(self, maps: torch.Tensor) -> None:
        super().__init__()
        self.maps = maps

    def forward(self, x):
        return self.maps
