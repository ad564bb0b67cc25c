"""One method at every layer."""

import pytest
import torch
from torch import nn

import camport
from camport.core.sweep import map_layers
from camport.errors import LayerError, MethodError
from tests.nets import Net, TokenNet, images, seeded

pytestmark = pytest.mark.filterwarnings("ignore::camport.errors.FlatMapWarning")


def test_every_layer_is_explained_as_if_it_alone_were_asked_for():
    model, x = seeded(Net()), images(2)
    found = dict(camport.sweep(model, x, "gradcam", torch.tensor([1, 3])))
    names = ["features.0", "features.1", "features.2", "features", "head.0", "head.1", "head.2"]
    assert list(found) == names  # head.3 pools; features.3 puts out what features does
    for name, explanation in found.items():
        alone = camport.explain(model, x, "gradcam", torch.tensor([1, 3]), name)
        assert torch.equal(alone.raw, explanation.raw)
        assert explanation.layers == (name,)


def test_named_layers_and_patterns():
    model, x = seeded(Net()), images(1)
    assert [name for name, _ in camport.sweep(model, x, layers=["head.0", "features.0"])] == [
        "head.0",
        "features.0",
    ]
    assert [name for name, _ in camport.sweep(model, x, layers="features.?")] == [
        f"features.{i}" for i in range(3)
    ]
    mixed = [name for name, _ in camport.sweep(model, x, layers=["head.*", "features.3"])]
    assert mixed == ["head.0", "head.1", "head.2", "features.3"]


# before a layer norm the products cancel
@pytest.mark.filterwarnings("ignore::camport.errors.GuardWarning")
def test_tokens_are_maps_too():
    found = dict(camport.sweep(seeded(TokenNet()), images(1), "hirescam", 2))
    assert {"blocks.0", "blocks.0.norm1", "blocks.1"} <= set(found)
    assert found["blocks.0"].raw.shape == (1, 7, 9)


class Reused(nn.Module):
    """A ReLU that runs twice, in place, and a branch that the score does not see."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.aside = (nn.Conv2d(n, 4, 3, padding=1) for n in (3, 4, 4))
        self.relu, self.fc = nn.ReLU(inplace=True), nn.Linear(4, 3)

    def forward(self, x):
        x = self.relu(self.one(x))
        self.last = self.aside(x)
        return self.fc(self.relu(self.two(x)).mean((2, 3)))


def test_runs_are_told_apart_and_branches_without_a_path_passed_over():
    model, x, done = seeded(Reused()), images(1), []
    found = [
        name for name, _ in camport.sweep(model, x, progress=lambda n, of: done.append((n, of)))
    ]
    # in place: what the convolution puts out is what the ReLU puts out
    assert found == ["relu@0", "relu@1"]
    assert done == [(1, 3), (2, 3), (3, 3)]
    with pytest.raises(LayerError, match=r"the score does not depend on layer 'aside'"):
        list(camport.sweep(model, x, layers=["one", "aside"]))


def test_the_model_is_left_as_found():
    model = seeded(Net()).train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    list(camport.sweep(model, images(2)))
    assert model.training
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in model.modules())


def test_what_cannot_be_swept():
    model, x = seeded(Net()), images(1)
    with pytest.raises(MethodError, match=r"saliency has no target layer to sweep over"):
        list(camport.sweep(model, x, "saliency"))
    with pytest.raises(
        LayerError, match=r"no layer with maps over the image is like 'x\*'; there is: features.0, "
    ):
        list(camport.sweep(model, x, layers="x*"))
    with pytest.raises(LayerError, match=r"no layer 'feature' in Net; nearest: features"):
        list(camport.sweep(model, x, layers=["feature"]))
    with pytest.raises(camport.CamportError, match=r"images have shape \(3, 14, 18\)"):
        list(camport.sweep(model, x[0]))
    assert map_layers([]) == []
