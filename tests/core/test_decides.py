"""Models that move the places of one image and not of the next, by what they see or by chance."""

import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import camport
from camport.errors import DoubtWarning, LayerError
from camport.plugins.hirescam import HiResCAM
from tests.core.test_turned import Inside
from tests.nets import seeded

METHOD = HiResCAM(relu=False)
LEFT = torch.rand(1, 3, 64, 48, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
LEFT[..., 24:] *= 0.1
RIGHT = LEFT.flip(3) + 0.01


def heavier_left(x):
    """Each image mirrored that is brighter on the right, as mammograms are laid out."""
    return torch.stack([a.flip(2) if a[:, :, 24:].sum() > a[:, :, :24].sum() else a for a in x])


def by_number(x):
    return x.flip(3) if x[..., 24:].sum().item() > x[..., :24].sum().item() else x


def by_array(x):
    return (
        x.flip(3)
        if float(np.asarray(x.detach()[..., 24:]).sum()) > float(x[..., :24].detach().numpy().sum())
        else x
    )


def by_index(x):
    right = (x[..., 24:].sum((1, 2, 3)) > x[..., :24].sum((1, 2, 3))).long()
    ahead = torch.arange(48)
    order = torch.stack([ahead, ahead.flip(0)])[right]
    return torch.stack([a[:, :, o] for a, o in zip(x, order, strict=True)])


DECIDING = [heavier_left, by_number, by_array, by_index]


def wanted(image, mirrored):
    plain = camport.explain(
        seeded(Inside()).double(), image.flip(3) if mirrored else image, METHOD, target=1
    )
    return plain.raw.flip(2) if mirrored else plain.raw


@pytest.mark.parametrize("move", DECIDING, ids=lambda f: f.__name__)
def test_each_call_is_followed_of_a_model_that_decides(move):
    bound = camport.bind(seeded(Inside(move)).double(), METHOD)
    for image, mirrored in [(LEFT, False), (RIGHT, True), (LEFT, False), (RIGHT, True)]:
        assert torch.allclose(
            bound(image, target=1).raw, wanted(image, mirrored), rtol=0, atol=1e-9
        )


@pytest.mark.parametrize("order", [(0, 1), (1, 0), (1, 1)])
def test_images_of_a_batch_that_lie_otherwise_are_explained_alone(order):
    both = [(LEFT, False), (RIGHT, True)]
    images = torch.cat([both[i][0] for i in order])
    bound = camport.bind(seeded(Inside(heavier_left)).double(), METHOD)
    if order == (1, 1):
        found = bound(images, target=1)
    else:
        with pytest.warns(DoubtWarning, match="moves the places of some images and not of others"):
            found = bound(images, target=1)
    for i, raw in zip(order, found.raw, strict=True):
        assert torch.allclose(raw, wanted(*both[i])[0], rtol=0, atol=1e-9)


CHANCES = {
    "torch": lambda x: x.flip(3) if torch.rand(()) < 0.5 else x,
    "python": lambda x: x.flip(3) if random.random() < 0.5 else x,
    "numpy": lambda x: x.flip(3) if np.random.rand() < 0.5 else x,  # noqa: NPY002
}


@pytest.mark.parametrize("which", CHANCES)
def test_a_flip_that_is_left_on(which):
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002
    torch.manual_seed(0)
    bound = camport.bind(seeded(Inside(CHANCES[which])).double(), METHOD)
    met = set()
    for _ in range(12):
        raw = bound(LEFT, target=1).raw
        torch.rand(1)  # the numbers of the process are left as they are
        near = [
            bool(torch.allclose(raw, wanted(LEFT, m), rtol=0, atol=1e-9)) for m in (False, True)
        ]
        assert any(near)
        met.add(near.index(True))
    assert met == {0, 1}


class Spatial(nn.Module):
    """A spatial transformer that turns the picture by what it sees (Jaderberg et al. 2015)."""

    def __init__(self):
        super().__init__()
        self.net = Inside()

    def forward(self, x):
        right = (x[..., 24:].sum((1, 2, 3)) > x[..., :24].sum((1, 2, 3))).to(x)
        zoom = 1 - 0.6 * right
        theta = torch.zeros(len(x), 2, 3).to(x)
        theta[:, 0, 0], theta[:, 1, 1] = zoom, zoom
        return self.net(
            F.grid_sample(
                x, F.affine_grid(theta, list(x.shape), align_corners=False), align_corners=False
            )
        )


def test_a_spatial_transformer_is_followed_for_each_image():
    bound = camport.bind(seeded(Spatial()).double(), METHOD)
    plain = camport.explain(seeded(Inside()).double(), LEFT, METHOD, target=1)
    assert torch.allclose(bound(LEFT, target=1).raw, plain.raw, rtol=0, atol=1e-9)
    with pytest.raises(LayerError, match="grid_sample in the forward pass left those of"):
        bound(RIGHT, target=1)
    with pytest.raises(LayerError, match="grid_sample in the forward pass left those of"):
        bound(torch.cat([LEFT, RIGHT]), target=1)


def test_what_decides_nothing_is_followed_once():
    model = seeded(Inside(lambda x: x.flip(3))).double()
    bound = camport.bind(model, METHOD)
    images = torch.cat([LEFT, RIGHT])
    bound(images, target=1)
    assert bound._readings.placing(bound._layers, images) is None
