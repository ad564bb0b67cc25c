"""docs/moving.md: its Python runs as it stands, and says the same of one image three times;
its names are there."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import camport
from camport.demo.photographs import photograph

PAGE = (Path(__file__).parents[2] / "docs/moving.md").read_text("utf-8")


def network() -> nn.Sequential:
    """With a `layer4` and a thousand classes."""
    torch.manual_seed(0)
    model = nn.Sequential()
    model.add_module("stem", nn.Sequential(nn.Conv2d(3, 8, 5, 4), nn.ReLU()))
    model.add_module(
        "layer4", nn.Sequential(nn.Conv2d(8, 12, 3, 2), nn.ReLU(), nn.Conv2d(12, 16, 3), nn.ReLU())
    )
    model.add_module(
        "head", nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, 1000))
    )
    return model.eval()


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    photo = photograph("chelsea").resize((96, 96))
    rgb_img = np.asarray(photo, np.float32) / 255
    found = {
        "model": network(),
        "rgb_img": rgb_img,
        "photograph": photo,
        "input_tensor": torch.from_numpy(rgb_img.transpose(2, 0, 1)[None].copy()) - 0.5,
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("moving"))
        for number, block in enumerate(
            re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
        ):
            exec(compile(block, f"docs/moving.md, block {number}", "exec"), found)
            if number == 1:
                found["moved"] = found["explanation"]
        with Image.open("cat.png") as picture:
            found["picture"] = picture.size
    return found


def test_grad_cams_lines(names):
    right = camport.explain(network(), names["input_tensor"], "gradcam", 281, "layer4.3")
    np.testing.assert_allclose(names["grayscale_cam"], right.heatmap[0], atol=1e-6)
    torch.testing.assert_close(names["moved"].heatmap, right.heatmap)
    torch.testing.assert_close(names["model_outputs"], network()(names["input_tensor"]).detach())
    assert names["visualization"].shape == (96, 96, 3)
    assert names["visualization"].max() == 255
    assert names["picture"] == (96, 96)


def test_torchcams_lines(names):
    raw = camport.explain(network(), names["input_tensor"], "layercam", layer="layer4").raw
    torch.testing.assert_close(names["activation_map"], [camport.core.minmax(raw)])
    assert names["result"].size == (96, 96)


def test_captums_lines(names):
    attr = pytest.importorskip("captum.attr", reason='pip install "camport[oracles]"')
    theirs = attr.IntegratedGradients(network()).attribute(
        names["input_tensor"], target=281, n_steps=20
    )
    torch.testing.assert_close(names["explanation"].raw, theirs.sum(1).to(names["explanation"].raw))
    assert names["gap"].abs().max() < 0.01
    assert names["smooth"].heatmap.max() == 1


def test_methods_that_are_named_are_there():
    """In the second columns: registry names, metrics, adapters and options."""
    cells = [
        line.split("|")[2]
        for line in PAGE.splitlines()
        if line.count("|") == 3 and "---" not in line
    ]
    lower = {word for cell in cells for word in re.findall(r"`([a-z_]+(?:\+\+)?)`", cell)}
    known = {
        "compat",
        *camport.methods(),
        *camport.metrics(),
        *vars(camport.Explanation)["__annotations__"],
    }
    assert sorted(lower - known) == []
    assert len(lower) > 30


def test_classes_that_are_named_are_there():
    from camport.compat import pytorch_grad_cam
    from camport.compat.torchcam import methods

    theirs, torchcams = (
        PAGE.split("\n## torchcam\n")[0],
        PAGE.split("\n## torchcam\n")[1].split("\n## captum\n")[0],
    )
    for page, room in ((theirs, pytorch_grad_cam), (torchcams, methods)):
        cells = [line.split("|")[1] for line in page.splitlines() if line.count("|") == 3]
        named = {
            word
            for cell in cells
            for word in re.findall(r"`([A-Z]\w+CAM\w*|LeGrad|SESS|FEM|FullGrad)`", cell)
        }
        assert sorted(name for name in named if not hasattr(room, name)) == []
        assert len(named) > 9
