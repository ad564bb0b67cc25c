"""What the fuzz campaign found, each as a test; and the campaign itself, which sees what fails."""

import json
import os
import time
import types
from importlib import metadata

import numpy as np
import pytest
import torch

import camport
from benchmarks.robustness import faults
from camport.core import registry
from camport.core.registry import Registry
from camport.errors import CamportError, InputError, PluginWarning, UnknownNameError, guarded
from camport.runtime.explainer import Explainer
from camport.runtime.feeds import build_feeds
from camport.runtime.ports import Port
from tests.nets import Net, images, seeded


def test_a_message_is_one_line_whatever_the_value_is():
    with pytest.raises(InputError) as caught:
        camport.bind(seeded(Net()), chunk=torch.ones(40, 3, 2))
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(CamportError("x" * 10_000))) == 2000
    assert str(CamportError("a  b\n   c\r\n")) == "a  b c"


def test_a_name_of_any_kind():
    with pytest.raises(UnknownNameError, match="unknown output '3'; there is: heatmap"):
        raise UnknownNameError("output", 3, ["heatmap"])  # type: ignore[arg-type]


@pytest.mark.parametrize("only", [3, "heatmap", [3], torch.ones(2), {}, [], ["a", None]])
def test_outputs_of_any_kind(only):
    explainer = Explainer.__new__(Explainer)
    explainer.outputs = (Port("heatmap", "float32", ("b", 3, 3)),)
    with pytest.raises(InputError, match=r"only is .*; give a list of outputs"):
        explainer._run({}, only, {})


def test_tensors_that_numpy_does_not_take():
    ports = [Port("images", "float32", ("b", 3, 8, 8)), Port("target", "int64", ("b",))]
    given = {"images": torch.ones(1, 3, 8, 8).to(torch.float8_e5m2), "target": 1}
    with pytest.raises(InputError, match="images is a Tensor that is no array"):
        build_feeds(ports, given)


def test_an_out_of_range_value_of_a_target_tensor():
    for target in (
        torch.full((3,), 2**40),
        torch.tensor(float("inf")),
        torch.ones(3, dtype=torch.complex64),
    ):
        with pytest.raises(CamportError):
            camport.explain(seeded(Net()), images(), "gradcam", target, "features")


class Point:
    """An entry point whose module ends the process, and whose distribution is damaged."""

    name = "ends"

    @property
    def dist(self):
        raise KeyError("Name")

    def load(self):
        raise SystemExit(3)


def test_a_plugin_that_ends_the_process_costs_only_itself():
    with pytest.warns(
        PluginWarning, match=r"'ends' of unknown distribution \? was left out: SystemExit: 3"
    ):
        found = Registry([Point()])
    assert found.plugins[-1].state == "broken: SystemExit: 3"
    assert "gradcam" in found.classes["explainer"]


@pytest.mark.parametrize("title", [3, None, "x" * 300])
def test_a_plugin_whose_title_is_no_text(title):
    class Odd(camport.Explainer):
        name, paper, family, needs_gradients = "odd", "-", "activation", False

        def saliency(self, probe):
            return probe.activations[0].sum(1)

    Odd.title = title
    module = types.ModuleType("odd")
    module.camport_explainers = camport.hookimpl(lambda: [Odd])
    point = types.SimpleNamespace(name="odd", dist=None, load=lambda: module)
    with pytest.warns(
        PluginWarning, match="whose title is .*; declare a text of at most 200 characters"
    ):
        Registry([point])


def test_one_damaged_distribution_does_not_hide_the_others(tmp_path, monkeypatch):
    for name, text in (
        ("good", "[camport]\nmine = json\n"),
        ("bad", "[camport]\nthis line has no sign\n"),
    ):
        folder = tmp_path / f"{name}-1.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
        (folder / "entry_points.txt").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(Exception):  # noqa: B017, PT011 - importlib's own, of whatever kind
        list(metadata.entry_points(group="camport"))
    with pytest.warns(PluginWarning, match=r"bad-1.dist-info is damaged and was left out"):
        assert "mine" in [point.name for point in registry.entry_points()]


def test_a_guard_names_and_keeps_camports_own():
    with (
        pytest.raises(InputError, match=r"^labels x: KeyError: 'a'; save it$") as caught,
        guarded("labels x", remedy="save it"),
    ):
        raise KeyError("a")
    assert isinstance(caught.value.__cause__, KeyError)
    with pytest.raises(UnknownNameError), guarded("labels x"):
        raise UnknownNameError("label", "a", [])
    with pytest.raises(InputError, match=r"^x: No space left on device$"), guarded("x"):
        raise OSError(28, "No space left on device")


def test_the_campaign_sees_failures_crashes_and_hangs(tmp_path, monkeypatch):
    def make(folder, own):
        def case(rng):
            at = json.loads((folder / "at.json").read_text())
            number = at["number"]
            (folder / "at.json").write_text(json.dumps({"number": number + 1}))
            if number == 1:
                raise ZeroDivisionError("raw")
            if number == 2:
                os._exit(9)
            if number == 3:
                time.sleep(60)
            if number == 4:
                raise InputError("said")
            assert np.isfinite(rng.random())

        return case

    monkeypatch.setattr(
        faults, "KINDS", {"door": types.SimpleNamespace(make=make, runs=False, text="x", cases=6)}
    )
    monkeypatch.setattr(faults, "LIMIT", 1.0)
    (tmp_path / "at.json").write_text('{"number": 0}')
    before = os.getcwd()
    found = faults.campaign({"door": range(6)}, seed=3, workers=1, minutes=5, folder=tmp_path)
    assert os.getcwd() == before
    assert found["done"] == {"door": 6}
    assert [(f["number"], f["what"]) for f in found["failures"]] == [
        (1, "ZeroDivisionError: raw"),
        (2, "the process ended with 9"),
        (3, "longer than 1 s"),
    ]
    assert "6 cases, 3 failures" in faults.page([found], {})
