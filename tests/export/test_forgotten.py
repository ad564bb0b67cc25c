"""An export leaves nothing behind in PyTorch: neither its shapes nor its sizes nor its code."""

import gc
import linecache
import threading

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx import graph_module
from torch.fx.experimental.symbolic_shapes import ShapeEnv

import camport
from camport.errors import ExportError
from camport.export import to_onnx, to_pt2, to_torchscript
from camport.export.capture.forgotten import forgotten
from tests.marks import rare

IMAGES = torch.randn(2, 3, 6, 7, generator=torch.Generator().manual_seed(1))


def _bound():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 2, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    ).eval()
    return camport.bind(model, layer="1")


def _sources():
    return set(graph_module._loader.eval_cache) | {
        name for name in linecache.cache if "eval_with_key" in name
    }


def _environments():
    gc.collect()
    return {id(found) for found in gc.get_objects() if type(found) is ShapeEnv}


def _kept(export):
    """What there is of each kind after `export` and was not there before: shapes, sources,
    environments of sizes."""
    shapes, sources, environments = set(FakeTensorMode.cache), _sources(), _environments()
    export()
    added = _environments() - environments
    return set(FakeTensorMode.cache) - shapes, _sources() - sources, len(added)


@pytest.mark.parametrize(
    ("write", "suffix"), [(to_onnx, "onnx"), *rare((to_pt2, "pt2"), (to_torchscript, "pt"))]
)
def test_pytorch_keeps_nothing_of_an_export(write, suffix, tmp_path):
    shapes, sources, environments = _kept(lambda: write(_bound(), tmp_path / f"a.{suffix}", IMAGES))
    assert (shapes, sources) == (set(), set())
    # PyTorch's tracker of random numbers has the last trace's, in place of the one before
    assert environments <= 1


class _ReadsValues(nn.Module):
    """A model that no file can hold."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3)

    def forward(self, x):
        y = self.conv(x)
        return y.mean((2, 3)) if y.sum() > 0 else y.amax((2, 3))


def test_pytorch_keeps_nothing_of_a_refused_export(tmp_path):
    def refused():
        with pytest.raises(ExportError):
            to_onnx(camport.bind(_ReadsValues().eval(), layer="conv"), tmp_path / "a.onnx", IMAGES)

    assert _kept(refused) == (set(), set(), 0)


def test_what_another_thread_traces_meanwhile_stays():
    """Its shapes are cached, the source of its code is there for tracebacks,
    its inputs are still tracked."""
    traced, environment = [], []

    def trace():
        with FakeTensorMode() as mode:
            torch.empty(11, 13).cos()
        environment.append(ShapeEnv(tracked_fakes=[]))
        traced.extend([mode.cache_enabled, torch.fx.symbolic_trace(nn.Sequential(nn.ReLU()))])

    sources = _sources()
    with forgotten():
        assert not FakeTensorMode().cache_enabled
        own = torch.fx.symbolic_trace(nn.Sequential(nn.Tanh()))
        thread = threading.Thread(target=trace)
        thread.start()
        thread.join()
    enabled, other = traced
    if torch.__version__ >= (
        2,
        11,
    ):  # before, the setting is the process's, and others compute again what was cached
        assert enabled
    assert environment[0].tracked_fakes == []
    left = _sources() - sources
    assert other.forward.__code__.co_filename in left
    assert own.forward.__code__.co_filename not in left
    assert FakeTensorMode().cache_enabled


def test_pytorch_is_left_as_found():
    loader, made = dict(vars(graph_module._loader)), vars(ShapeEnv)["__init__"]
    with pytest.raises(ZeroDivisionError), forgotten():
        raise ZeroDivisionError
    assert vars(graph_module._loader).keys() == loader.keys()
    assert vars(ShapeEnv)["__init__"] is made
