"""The example package of an adapter: its own tests, its entry point, and its adapter by name in a fresh process."""

import runpy
import tomllib
from pathlib import Path

import numpy as np
from PIL import Image

from tests.testing.test_example_plugin import fresh, install

EXAMPLE = Path(__file__).parents[2] / "examples" / "camport-keypoints"
NETWORK = """
import torch
from torch import nn

def build():
    '''Three keypoints, whose maps are the pixels' colours.'''
    layer = nn.Conv2d(3, 3, 1, bias=False)
    layer.weight.data = torch.eye(3)[:, :, None, None]
    return nn.Sequential(layer, nn.Identity()).eval()
"""


def test_its_own_tests_pass(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLE)
    found = runpy.run_path(str(EXAMPLE / "tests" / "test_keypoints.py"))
    tests = [value for name, value in found.items() if name.startswith("test_")]
    assert len(tests) == 2
    for test in tests:
        test()


def test_its_adapter_is_used_by_name(tmp_path):
    """The red keypoint's map is at the one red pixel, the green one's at the green pixel."""
    install(EXAMPLE, tmp_path)
    (tmp_path / "pose.py").write_text(NETWORK)
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[2, 5, 0] = pixels[6, 1, 1] = 255
    Image.fromarray(pixels).save(tmp_path / "x.png")
    options = ["-m", "pose:build", "--adapter", "keypoints", "--layer", "0", "--method", "hirescam"]
    commands = [
        ["explain", str(tmp_path / "x.png"), *options, "--target", str(k), "-o", str(tmp_path / f"{k}.npz")]
        for k in (0, 1)
    ]
    done = fresh(tmp_path, f"sys.exit(any([main(c) for c in {commands!r}]) or main(['adapters']))")
    assert done.returncode == 0, done.stderr
    assert any(
        line.split()[0] == "keypoints" and "camport-keypoints" in line for line in done.stdout.splitlines() if line
    )
    for k, place in enumerate([(2, 5), (6, 1)]):
        heatmap = np.load(tmp_path / f"{k}.npz")["heatmap"].squeeze()
        assert np.unravel_index(heatmap.argmax(), heatmap.shape) == place


def test_the_entry_point_names_its_module():
    told = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())
    (module,) = told["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]
    assert told["project"]["entry-points"]["camport"] == {"keypoints": Path(module).stem}
    assert (EXAMPLE / module).is_file()
