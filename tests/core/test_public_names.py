"""What authors import from `camport.core`, and the names that its modules had in 0.1."""

import importlib
import subprocess
import sys

import pytest

import camport.core


def test_core_gathers_what_authors_import():
    assert camport.core.Explainer is camport.Explainer
    assert (
        camport.core.over_layers is importlib.import_module("camport.core.maps.fusion").over_layers
    )
    for name in camport.core.__all__:
        assert getattr(camport.core, name).__name__ in (name, "Literal"), name
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        camport.core.nothing  # noqa: B018


@pytest.mark.parametrize("old", sorted(camport.core._MOVED))
def test_a_module_is_importable_by_its_earlier_name(old):
    new = importlib.import_module(f"camport.core.{camport.core._MOVED[old]}")
    moved = importlib.import_module(f"camport.core.{old}")
    public = [name for name in vars(new) if not name.startswith("_")]
    assert public
    assert all(getattr(moved, name) is getattr(new, name) for name in public)
    assert getattr(camport.core, old) is moved


def test_an_earlier_name_loads_nothing_by_being_looked_at():
    code = """
import sys, inspect, camport.core
from camport.core import fusion
inspect.getmodule(camport.core.late)
assert "torch" not in sys.modules
from camport.core.noise import uniform
assert uniform is camport.core.uniform
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
