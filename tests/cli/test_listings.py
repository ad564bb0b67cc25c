"""Listings as JSON, and their tables."""

import io
import json

import pytest
from rich.console import Console

import camport as package
from camport.cli import listings


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


@pytest.mark.parametrize("width", [60, 120])
def test_a_plugin_is_a_line_on_a_terminal(monkeypatch, width):
    seen = io.StringIO()
    monkeypatch.setattr(
        listings,
        "Console",
        lambda **_: Console(file=seen, force_terminal=True, width=width, color_system=None),
    )
    listings.table(
        ("plugin", "adds"), [("one", ", ".join(package.methods())), ("two", "a [b] c")], cut="adds"
    )
    lines = seen.getvalue().splitlines()
    assert len(lines) == 3
    assert all(len(line) <= width for line in lines)
    assert "a [b] c" in lines[2]
