"""`camport layers` of every network that is shipped and for every adapter,
those of the examples among them."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

import camport as library
from camport import models
from camport.cli.options import Model
from camport.core import registry
from camport.demo.networks import NETWORKS
from camport.demo.task_networks import TASK_NETWORKS

EXAMPLES = Path(__file__).parents[2] / "examples"
OTHERS = {"detector": ["up2", "out3", "out4"], "imagenet": None}
"""The networks beside the tables, and their layers where these are not the last block before the
pooling."""
NAMES = [*NETWORKS, *TASK_NETWORKS, *OTHERS]


def chosen(done):
    assert done.status == 0, done.err
    return [line.split()[0] for line in done.out.splitlines() if line.endswith("chosen")]


@pytest.mark.parametrize("name", NAMES)
def test_every_network(camport, name):
    """What is listed as chosen is what a bound method takes."""
    loaded = models.load_model(f"demo:{name}", "none")
    cards = {**NETWORKS, **TASK_NETWORKS}
    own = getattr(cards.get(name), "layer", "")
    found = chosen(camport("layers", "-m", f"demo:{name}"))
    assert found
    assert set(found) <= {name for name, _ in loaded.model.named_modules()}
    if own:
        assert found == [own]
    if OTHERS.get(name):
        assert found == OTHERS[name]


NETWORK = """
import torch
from torch import nn

class Map(nn.Module):
    '''One map of the pictures' size: depths, or a keypoint's, or a row's mean.'''
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU())
        self.decoder = nn.Sequential(nn.ConvTranspose2d(6, 4, 2, 2), nn.ReLU(), nn.Conv2d(4, 1, 1))
    def forward(self, x):
        return self.decoder(self.encoder(x))

def dense():
    torch.manual_seed(0)
    return Map().eval()
"""
OF = {
    "captioning": ("demo:captioner", ["encoder.layer3"]),
    "classification": ("demo:digits", ["layer3"]),
    "detection": ("demo:detector", ["up2", "out3", "out4"]),
    "function": ("demo:digits", ["layer3"]),
    "segmentation": ("demo:segmenter", ["encoder.layer3"]),
    "similarity": ("demo:digits", ["layer3"]),
    "vqa": ("demo:answerer", ["encoder.layer3"]),
    "vqa-words": (
        "tests.adapters.speakers:blip_vqa",
        ["vision_model.encoder.layers.0.layer_norm1"],
    ),
    "depth": ("dense_nets:dense", ["encoder"]),
    "keypoints": ("dense_nets:dense", ["encoder"]),
}
"""For each adapter a network, and the layer."""
SIZES = {"captioning": "64x64", "vqa": "64x64"}


@pytest.fixture
def plugins(monkeypatch, tmp_path):
    """The example packages' adapters, as if they were installed, and networks of the user's own."""
    (tmp_path / "dense_nets.py").write_text(NETWORK)
    found = registry.registered()
    for name in ("depth", "keypoints"):
        monkeypatch.syspath_prepend(str(EXAMPLES / f"camport-{name}"))
        module = __import__(f"camport_{name}")
        (adapter,) = module.camport_adapters()
        owned = replace(found.classes["adapter"]["function"], cls=adapter)
        monkeypatch.setitem(found.classes["adapter"], adapter.name, owned)
    yield
    sys.modules.pop("dense_nets", None)


@pytest.mark.parametrize("name", OF)
def test_every_adapter(camport, plugins, name):
    spec, layers = OF[name]
    found = chosen(
        camport("layers", "-m", spec, "--adapter", name, "--size", SIZES.get(name, "32x32"))
    )
    assert found == layers


def test_no_adapter_is_left_out():
    assert set(library.adapters()) <= set(OF)


def test_the_help_of_model_names_every_form():
    (option,) = get_args(Model)[1:]
    assert [form for form in models.specs() if form not in option.help] == []
