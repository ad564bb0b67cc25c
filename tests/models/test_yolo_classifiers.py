"""Classifiers of YOLO packages: told from detectors by their last layer,
prepared as those packages predict."""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import camport
from camport.errors import InputError
from camport.models import load_model
from camport.runtime import Preprocess
from tests.nets import seeded


class Classify(nn.Module):
    """The head of those packages: in evaluation mode (probability, logit)."""

    def __init__(self, classes, pair):
        super().__init__()
        self.conv, self.pool = nn.Conv2d(8, 12, 1), nn.AdaptiveAvgPool2d(1)
        self.drop, self.linear, self.pair = nn.Dropout(0.0), nn.Linear(12, classes), pair

    def forward(self, x):
        z = self.linear(self.drop(self.pool(self.conv(x).relu()).flatten(1)))
        return (z.softmax(1), z) if self.pair else z


class Detect(nn.Module):
    """A head of convolutions, with the linear layers of a transformer beside them."""

    def __init__(self):
        super().__init__()
        self.cv2, self.cv3 = nn.Conv2d(8, 4, 1), nn.Conv2d(8, 3, 1)
        self.scores, self.boxes = nn.Linear(4, 3), nn.Linear(4, 4)


class Network(nn.Module):
    def __init__(self, head):
        super().__init__()
        self.model = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.SiLU(), head)
        self.names, self.stride = {0: "car", 1: "bus", 2: "tram"}, torch.tensor([32.0])

    def forward(self, x):
        return self.model(x)


@pytest.fixture
def package(monkeypatch, tmp_path):
    """A package that stands for the user's own install:
    it gives the network that a test puts into it."""
    monkeypatch.chdir(tmp_path)
    torch.save({}, tmp_path / "cls.pt")
    held = SimpleNamespace(network=None)
    module = ModuleType("ultralytics")
    module.__spec__ = SimpleNamespace(name="ultralytics")
    module.YOLO = lambda name: SimpleNamespace(model=held.network)
    monkeypatch.setitem(sys.modules, "ultralytics", module)
    return held


def loaded():
    return load_model("ultralytics:cls.pt", trust_checkpoint=True)


@pytest.mark.parametrize(
    ("told", "size", "fit"),
    [
        ({"imgsz": 96}, (96, 96), "crop"),
        ({"imgsz": [64, 96]}, (64, 96), "stretch"),
        ({}, (224, 224), "crop"),
    ],
)
def test_pictures_are_prepared_at_the_trained_size(package, told, size, fit):
    package.network = Network(Classify(3, pair=True))
    package.network.args = told
    found = loaded()
    assert (found.adapter, found.labels) == ("classification", ("car", "bus", "tram"))
    assert found.preprocess == Preprocess(size=size, fit=fit)


def test_the_checkpoints_own_normalisation_is_taken(package):
    package.network = Network(Classify(3, pair=True))
    normalise = SimpleNamespace(
        mean=torch.tensor([0.5, 0.25, 0.0]), std=torch.tensor([0.5, 1.0, 2.0])
    )
    package.network.transforms = SimpleNamespace(transforms=[SimpleNamespace(size=224), normalise])
    assert loaded().preprocess == Preprocess(
        size=(224, 224), fit="crop", mean=(0.5, 0.25, 0.0), std=(0.5, 1.0, 2.0)
    )


def test_a_picture_is_cropped_as_the_package_does(package):
    torchvision = pytest.importorskip("torchvision")
    package.network = Network(Classify(3, pair=True))
    package.network.args = {"imgsz": 32}
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 70, 3), np.uint8))
    steps = torchvision.transforms
    theirs = steps.Compose([steps.Resize(32), steps.CenterCrop(32), steps.ToTensor()])(picture)
    assert np.abs(loaded().preprocess.apply(picture)[0] - theirs.numpy()).max() < 1e-6


def test_a_detector_is_a_detector(package):
    package.network = Network(Detect())
    found = loaded()
    assert (found.adapter, found.preprocess.fit) == ("detection", "letterbox")


@pytest.mark.parametrize("pair", [False, True])
@pytest.mark.filterwarnings("error")
def test_it_is_explained_by_its_logit(package, pair):
    package.network = Network(Classify(3, pair))
    model = seeded(loaded().model)
    with torch.no_grad():
        model.model[-1].linear.weight.mul_(60)  # so sure that the probability is 1
    x = torch.rand(2, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    explanation = camport.explain(model, x, "hirescam", layer="model.1")
    a = model.model[1](model.model[0](x)).detach().requires_grad_()
    out = model.model[2](a)
    z = out[1] if pair else out
    y = z.amax(1)
    assert torch.allclose(explanation.score.double(), y, rtol=1e-6)
    assert torch.allclose(explanation.gradients[0], torch.autograd.grad(y.sum(), a)[0], atol=1e-9)


@pytest.mark.parametrize(
    ("name", "there"),
    [
        ("yolov8n.yaml", "yolov8n.yaml"),
        ("yolov8n.yaml", "yolov8.yaml"),
        ("of/net.yaml", None),
        ("http://a/n.yaml", None),
    ],
)
def test_a_description_is_code(package, name, there):
    """The packages evaluate what a .yaml file says; only the package's own is read unasked."""
    package.network = seeded(Network(Classify(3, pair=True)))
    assert load_model("ultralytics:yolov8n.yaml").labels == ("car", "bus", "tram")
    if there:
        Path(there).write_text("activation: print('ran')", encoding="utf-8")
    with pytest.raises(
        InputError, match=f"{name} is evaluated as Python code .* --trust-checkpoint"
    ):
        load_model(f"ultralytics:{name}")
    assert load_model(f"ultralytics:{name}", trust_checkpoint=True).labels == ("car", "bus", "tram")
