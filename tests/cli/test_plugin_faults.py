"""An error that nobody foresaw is told as the plugin's whose code raised it, else as camport's."""

import importlib
import sys
from types import SimpleNamespace

import pytest
import torch

from camport.core import registry
from camport.core.infos import PluginInfo
from camport.core.plugin_faults import raised_by
from camport.core.registry import _Owned

JOINTS = """
import torch
import camport

class Joints(camport.Adapter):
    name, title = "joints", "The sum of one channel"
    fields = (camport.Field("joint", "class", default=0, least=0),)

    def check(self, outputs, target):
        if int(target["joint"].max()) >= outputs.shape[1]:
            raise camport.errors.InputErorr("no such joint")

    def score(self, outputs, target):
        return outputs.flatten(1).sum(1)

    def call(self, model, images):
        return model(images)

class Reshaped(camport.Explainer):
    name, title, paper, family, needs_gradients = "reshaped", "R", "-", "activation", False

    def saliency(self, probe):
        return helper(probe.activations[0])

class Divided(camport.Metric):
    name, title = "divided", "D"

    def __call__(self, heatmap, region):
        return 1 / 0

def helper(maps):
    return maps.reshape(7, -1)
"""


@pytest.fixture
def joints(tmp_path, monkeypatch):
    """The module of a plugin of another distribution, in the registry."""
    (tmp_path / "camport_joints.py").write_text(JOINTS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "camport_joints", raising=False)
    module = importlib.import_module("camport_joints")
    there = registry.registered()
    info = PluginInfo("joints", "camport-joints", "1.0.0", (), "loaded")
    monkeypatch.setattr(there, "plugins", [*there.plugins, info])
    for kind, cls in {
        "adapter": module.Joints,
        "explainer": module.Reshaped,
        "metric": module.Divided,
    }.items():
        owned = _Owned(cls, "joints", "camport-joints")
        monkeypatch.setitem(there.classes[kind], cls.name, owned)
    return module


def test_on_the_command_line(camport, photo, joints):
    size = ("--preprocess", '{"size": [32, 32], "fit": "stretch"}', "-o", "x.png")
    model = ("-m", "tests.cli.quiet:make", "--adapter", "joints", *size)
    done = camport("explain", photo, *model, "--target", "joint=1000")
    assert done.status == 70, done
    assert done.err.startswith(
        "camport: error: adapter joints of camport-joints 1.0.0 raised AttributeError: module"
        " 'camport.errors' has no attribute 'InputErorr'; report it to its authors"
    ), done.err
    assert done.err.count("\n") == 1


def raised(call, *arguments):
    """Whose an error is."""
    with pytest.raises(Exception) as error:  # noqa: PT011
        call(*arguments)
    return raised_by(error.value)


def test_methods_and_metrics_too(joints):
    """Also what torch raises for a helper of the plugin's; what a model raises is no plugin's."""
    probe = SimpleNamespace(activations=[torch.zeros(1, 3, 4, 4)])
    assert raised(joints.Reshaped().saliency, probe) == "method reshaped of camport-joints 1.0.0"
    assert raised(joints.Divided(), None, None) == "metric divided of camport-joints 1.0.0"
    assert raised(joints.helper, torch.zeros(3)) == "plugin joints of camport-joints 1.0.0"
    model = torch.nn.Linear(3, 2)
    assert raised(joints.Joints().call, model, torch.zeros(1, 4)) is None
    assert raised(torch.zeros, "three") is None
