"""Guided backpropagation, the deconvnet and guided Grad-CAM on every way to write a ReLU,
and without any."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import camport
from camport.errors import ReluRuleWarning
from tests.nets import images, seeded

METHODS = ("guided_backprop", "deconvnet", "guided_gradcam")
SPELLINGS = {
    "nn.ReLU": nn.ReLU(),
    "nn.ReLU in place": nn.ReLU(inplace=True),
    "F.relu": F.relu,
    "F.relu in place": lambda x: F.relu(x, inplace=True),
    "F.relu_": F.relu_,
    "torch.relu": torch.relu,
    "torch.relu_": torch.relu_,
    "Tensor.relu": torch.Tensor.relu,
    "Tensor.relu_": torch.Tensor.relu_,
    "nn.ReLU6": nn.ReLU6(),
    "nn.ReLU6 in place": nn.ReLU6(inplace=True),
    "F.relu6": F.relu6,
    "F.relu6 in place": lambda x: F.relu6(x, inplace=True),
    "F.hardtanh from 0 to 6": lambda x: F.hardtanh(x, 0.0, 6.0),
}


class TwoLayers(nn.Module):
    """One activation for both layers, so that a module is reused; its values stay below 6."""

    def __init__(self, activation):
        super().__init__()
        self.a, self.b, self.fc = nn.Conv2d(3, 5, 3), nn.Conv2d(5, 6, 3), nn.Linear(6, 4)
        self.activation = activation

    def forward(self, x):
        return self.fc(self.activation(self.b(self.activation(self.a(x)))).mean((2, 3)))


class TwoModules(TwoLayers):
    def __init__(self):
        super().__init__(nn.ReLU())
        self.second = nn.ReLU()

    def forward(self, x):
        return self.fc(self.second(self.b(self.activation(self.a(x)))).mean((2, 3)))


def gradient(model, method):
    x = 0.3 * images(2)
    return camport.explain(model, x, method, torch.tensor([1, 2]), "b").figures["gradient"]


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("method", METHODS)
def test_every_spelling_is_ruled_alike_and_without_a_warning(method, spelling):
    wanted, plain = (
        gradient(seeded(TwoModules()), method),
        gradient(seeded(TwoModules()), "saliency"),
    )
    found = gradient(seeded(TwoLayers(SPELLINGS[spelling])), method)
    assert torch.allclose(found, wanted, rtol=1e-9, atol=1e-12)
    assert (found - plain).norm() > 0.1 * plain.norm()


@pytest.mark.parametrize("activation", [nn.SiLU(), nn.GELU(), nn.LeakyReLU(), nn.Hardtanh()])
@pytest.mark.parametrize("method", METHODS)
def test_a_network_without_relu_is_said(method, activation):
    model = seeded(TwoLayers(activation))
    with pytest.warns(
        ReluRuleWarning,
        match=r"the ReLU rule met no ReLU in this model: this is the plain gradient",
    ):
        found = gradient(model, method)
    if method != "guided_gradcam":
        assert torch.equal(found, gradient(model, "saliency"))


def test_one_relu_is_enough_not_to_be_warned():
    model = seeded(
        nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.SiLU(), nn.Conv2d(4, 5, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1)
        )
    )
    model.append(nn.Flatten())
    assert camport.explain(model, images(1), "guided_backprop", 1).raw.any()


def test_relu6_passes_nothing_where_it_saturates():
    """Guided backpropagation asks that the ReLU let the value pass;
    at its ceiling ReLU6 does not."""
    model = nn.Sequential(nn.Conv2d(3, 1, 1, bias=False), nn.ReLU6(), nn.Flatten()).double().eval()
    nn.init.ones_(model[0].weight)
    x = torch.ones(1, 3, 1, 4, dtype=torch.float64) * torch.tensor(
        [-1.0, 1.0, 1.9, 2.1]
    )  # the sums are three times that
    found = [
        float(camport.explain(model, x, "guided_backprop", c).figures["gradient"].sum())
        for c in (1, 2)
    ]
    assert found == [3.0, 3.0]
    with pytest.warns(camport.errors.FlatMapWarning):
        assert not camport.explain(model, x, "guided_backprop", 3).figures["gradient"].any()
    assert float(camport.explain(model, x, "deconvnet", 3).figures["gradient"].sum()) == 3.0


def test_a_deconvnet_knows_the_image_by_its_poolings_alone():
    for pooling, same in ((nn.AvgPool2d(2), True), (nn.MaxPool2d(2), False)):
        layers = (
            nn.Conv2d(3, 4, 3),
            nn.ReLU(),
            pooling,
            nn.Conv2d(4, 5, 3),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        first, second = camport.explain(
            seeded(nn.Sequential(*layers)), images(2), "deconvnet", 1
        ).raw
        assert first.any()
        assert torch.equal(first, second) == same
