"""Listings as JSON, and their tables."""

import io
import json
from dataclasses import dataclass, replace

import pytest
from rich.console import Console

import camport as package
from camport.cli import listings
from camport.core import registry
from camport.core.infos import PluginInfo


def read(done):
    assert (done.status, done.err) == (0, "")
    assert done.out.count("\n") == 1
    return json.loads(done.out)


def test_methods(camport):
    found = {entry["name"]: entry for entry in read(camport("methods", "--json"))}
    assert set(found) == set(package.methods())
    assert found["gradcam"]["title"] == "Grad-CAM"
    assert found["gradcam"]["needs_gradients"] is True
    assert found["xrai"]["exportable"] is False
    assert "segment" in found["xrai"]["not_exportable_because"]
    one = read(camport("methods", "rise", "--json"))
    assert one == found["rise"]
    assert {option["name"] for option in one["options"]} >= {"samples"}


def test_adapters_metrics_and_plugins(camport):
    adapters = {entry["name"]: entry for entry in read(camport("adapters", "--json"))}
    assert set(adapters) == set(package.adapters())
    metrics = {entry["name"]: entry for entry in read(camport("metrics", "--json"))}
    assert set(metrics) == set(package.metrics())
    assert metrics["insertion"]["better"] == "higher"
    plugins = {entry["name"]: entry for entry in read(camport("plugins", "--json"))}
    assert "gradcam" in plugins["camport.plugins"]["adds"]
    assert plugins["camport.plugins"]["state"] == "loaded"


def test_layers(camport):
    rows = read(camport("layers", "-m", "demo:digits", "--json"))
    (chosen,) = [row for row in rows if row["chosen"]]
    assert chosen["layer"] == "layer3"
    assert chosen["output"][:2] == [1, 96]


def test_no_infinity_is_written(capsys):
    listings.say_json({"range": (0.0, float("inf"))})
    assert json.loads(capsys.readouterr().out) == {"range": [0.0, None]}


@pytest.fixture
def terminal(monkeypatch):
    """What is printed on a terminal of a width."""

    def on(width, command, *arguments):
        seen = io.StringIO()
        monkeypatch.setattr(
            listings,
            "Console",
            lambda **_: Console(file=seen, force_terminal=True, width=width, color_system=None),
        )
        command(*arguments)
        lines = seen.getvalue().splitlines()
        assert all(len(line) <= width for line in lines)
        return lines

    return on


@pytest.mark.parametrize("width", [80, 100, 120, 160])
def test_a_plugin_keeps_its_name_and_state_on_a_terminal(terminal, monkeypatch, width):
    there = registry.registered()
    broken = PluginInfo("torn", "camport-torn", "2.0", (), "broken: no module named torn")
    monkeypatch.setattr(there, "plugins", [*there.plugins, broken])
    head, *lines = terminal(width, listings.plugins)
    assert head.split() == ["plugin", "distribution", "state", "adds"]
    own = next(line for line in lines if line.startswith("camport.plugins "))
    assert "loaded" in own
    assert own.rstrip().endswith(f"{len(package.methods())} methods")
    (torn,) = [line for line in lines if line.startswith("torn ")]
    assert torn.split()[:4] == ["torn", "camport-torn", "2.0", "broken:"]


@pytest.mark.parametrize("width", [80, 100, 120, 160])
@pytest.mark.parametrize("listed", ["methods", "adapters", "metrics"])
def test_names_are_whole_on_a_terminal(terminal, width, listed):
    lines = terminal(width, getattr(listings, listed))
    first = {line.split()[0] for line in lines[1:] if not line.startswith(" ")}
    assert first == set(getattr(package, listed)())
    assert ("from" in lines[0].split()) == (width >= 140)
    titles = [info.title for info in getattr(package, listed)().values()]
    longest = max((word for title in titles for word in title.split()), key=len)
    assert any(longest in line.split() for line in lines)


def test_text_has_no_markup(terminal):
    assert terminal(60, listings.table, ("a", "b"), [("two", "a [b] c")])[1] == "two  a [b] c"


def test_a_pipe_has_every_name(camport):
    done = camport("plugins")
    assert ", ".join(package.methods()) in done.out


def test_a_method_in_full_is_plain_text(camport, monkeypatch):
    """Without the marks of its docstring; an option that says nothing of itself has no colon."""

    @dataclass(frozen=True)
    class Bare(package.Explainer):
        """Shows ``power`` of a map.

        Cost: `1` forward pass.
        """

        name, title, paper, family, needs_gradients = "bare", "Bare", "-", "activation", False
        power: float = 2.0

        def saliency(self, probe):
            return probe.activations[0].amax(1)

    found = registry.registered().classes["explainer"]
    monkeypatch.setitem(found, "bare", replace(found["gradcam"], cls=Bare))
    lines = camport("methods", "bare").out.splitlines()
    assert "Shows power of a map." in lines
    assert "cost:       1 forward pass" in lines
    assert lines[-1] == "  power = 2.0"
    assert "  samples = None: " in camport("methods", "rise").out
