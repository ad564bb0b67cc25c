"""The example package of an adapter: its own tests, its entry point,
and its adapter by name in a fresh process."""

import runpy
import tomllib
from pathlib import Path

import numpy as np
import pytest
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


@pytest.mark.parametrize("name", ["keypoints", "depth"])
def test_its_own_tests_pass(monkeypatch, name):
    example = EXAMPLE.with_name(f"camport-{name}")
    monkeypatch.syspath_prepend(example)
    found = runpy.run_path(str(example / "tests" / f"test_{name}.py"))
    tests = [value for name, value in found.items() if name.startswith("test_")]
    assert len(tests) == 2
    for test in tests:
        test()


@pytest.mark.everything
def test_its_adapter_is_used_by_name(tmp_path):
    """The red keypoint's map is at the one red pixel, the green one's at the green pixel."""
    install(EXAMPLE, tmp_path)
    (tmp_path / "pose.py").write_text(NETWORK)
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[2, 5, 0] = pixels[6, 1, 1] = 255
    Image.fromarray(pixels).save(tmp_path / "x.png")
    options = ["-m", "pose:build", "--adapter", "keypoints", "--layer", "0", "--method", "hirescam"]
    commands = [
        [
            "explain",
            str(tmp_path / "x.png"),
            *options,
            "--target",
            str(k),
            "-o",
            str(tmp_path / f"{k}.npz"),
        ]
        for k in (0, 1)
    ]
    done = fresh(tmp_path, f"sys.exit(any([main(c) for c in {commands!r}]) or main(['adapters']))")
    assert done.returncode == 0, done.stderr
    assert any(
        line.split()[0] == "keypoints" and "camport-keypoints" in line
        for line in done.stdout.splitlines()
        if line
    )
    for k, place in enumerate([(2, 5), (6, 1)]):
        heatmap = np.load(tmp_path / f"{k}.npz")["heatmap"].squeeze()
        assert np.unravel_index(heatmap.argmax(), heatmap.shape) == place


DEPTH = EXAMPLE.parent / "camport-depth"
PLANE = """
import torch
from torch import nn

def build():
    '''Depth is what is red, by two layers that keep each pixel where it is.'''
    first, second = nn.Conv2d(3, 2, 1, bias=False), nn.Conv2d(2, 1, 1, bias=False)
    first.weight.data = torch.tensor([[1.0, 0, 0], [0, 1, 0]])[:, :, None, None]
    second.weight.data = torch.tensor([[1.0, 0.0]])[:, :, None, None]
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU()).eval()
"""


def test_a_task_of_another_package_is_whole(tmp_path):
    """Explained, exported, run at the edge and drawn by the command line,
    with a region in the picture's pixels."""
    install(DEPTH, tmp_path)
    (tmp_path / "plane.py").write_text(PLANE)
    pixels = np.zeros((32, 64, 3), np.uint8)
    pixels[..., 0] = np.arange(64) * 4
    Image.fromarray(pixels).save(tmp_path / "x.png")
    shape = '{"size": [32, 32], "mean": [0, 0, 0], "std": [1, 1, 1]}'
    model = [
        "-m",
        "plane:build",
        "--adapter",
        "depth",
        "--method",
        "hirescam",
        "--layer",
        "0",
        "--preprocess",
        shape,
    ]
    image, region = str(tmp_path / "x.png"), ["--target", "region=16,8,48,24"]
    commands = [
        ["explain", image, *model, *region, "-o", str(tmp_path / "eager.npz")],
        ["explain", image, *model, *region, "-o", str(tmp_path / "eager.png")],
        ["explain", image, *model, "-o", str(tmp_path / "whole.npz")],
        ["layers", *model[:4], "--size", "32x32"],
        ["export", *model, "--size", "32x32", "-o", str(tmp_path / "depth.onnx")],
        ["run", str(tmp_path / "depth.onnx"), image, *region, "-o", str(tmp_path / "edge.npz")],
        ["run", str(tmp_path / "depth.onnx"), image, *region, "-o", str(tmp_path / "edge.png")],
        ["run", str(tmp_path / "depth.onnx"), image, "-o", str(tmp_path / "edge_whole.npz")],
    ]
    done = fresh(tmp_path, f"sys.exit(any([main(c) for c in {commands!r}]) or main(['adapters']))")
    assert done.returncode == 0, done.stderr
    assert any("depth" in line and "region (box)" in line for line in done.stdout.splitlines())
    found = {
        name: np.load(tmp_path / f"{name}.npz") for name in ("eager", "edge", "whole", "edge_whole")
    }
    with Image.open(image) as opened:
        red = np.asarray(opened.resize((32, 32)))[..., 0] / 255
    for name, region in (
        ("eager", red[8:24, 8:24]),
        ("edge", red[8:24, 8:24]),
        ("whole", red),
        ("edge_whole", red),
    ):
        assert abs(found[name]["score"][0] - region.mean()) < 2e-2
    inside = np.zeros((32, 32), bool)
    inside[8:24, 8:24] = True
    for name in ("eager", "edge"):
        heatmap = found[name]["heatmap"][0]
        assert heatmap[inside].min() > 0
        assert not heatmap[~inside].any()
    assert np.abs(found["eager"]["heatmap"] - found["edge"]["heatmap"]).max() < 1e-5
    assert found["whole"]["heatmap"][0][:, 1:].all()
    for name in ("eager", "edge"):
        with Image.open(tmp_path / f"{name}.png") as drawn:
            assert drawn.width > 2 * 64


def test_what_is_no_region_is_said(tmp_path):
    install(DEPTH, tmp_path)
    (tmp_path / "plane.py").write_text(PLANE)
    Image.new("RGB", (64, 32)).save(tmp_path / "x.png")
    start = [
        "explain",
        str(tmp_path / "x.png"),
        "-m",
        "plane:build",
        "--adapter",
        "depth",
        "-o",
        str(tmp_path / "x.npz"),
    ]
    wrong = ["region=1,2,3", "region=left", "place=1,2,3,4", "region=9,9,3,3"]
    done = fresh(
        tmp_path,
        f"sys.exit(10 * sum(main({start!r} + ['--target', text]) == 2 for text in {wrong!r}))",
    )
    assert done.returncode == 10 * len(wrong), done.stderr
    lines = [
        line
        for line in done.stderr.splitlines()
        if "region" in line or "place" in line or "box" in line
    ]
    assert "give x0,y0,x1,y1 (the whole picture if left out)" in lines[0]
    assert any("the target has no 'place'; it has region" in line for line in lines)
    assert not (tmp_path / "x.npz").exists()


def test_the_entry_point_names_its_module():
    told = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())
    (module,) = told["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]
    assert told["project"]["entry-points"]["camport"] == {"keypoints": Path(module).stem}
    assert (EXAMPLE / module).is_file()
