"""The Python and the commands of the pages run as they stand,
in a folder with the files that they speak of.

Pages with tests of their own are not here: plugins.md and metrics.md (tests/testing),
captioning.md, vqa.md and segmentation.md (tests/cli/test_tasks.py), evaluation.md's command
(tests/cli/test_evaluate.py), detection.md (tests/yolo), moving.md and bridges.md (tests/compat,
tests/bridges).
"""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from camport import models
from camport.cli import main
from camport.demo.photographs import photograph
from camport.demo.scenes import make_scene
from tests.pages import ROOT, blocks, commands

pytestmark = [
    pytest.mark.everything,
    # of random weights and small pictures
    pytest.mark.filterwarnings("ignore::camport.errors.CamportWarning"),
]


def run(page: str, **names: object) -> dict:
    """The names that the page's Python leaves, all blocks one after the other."""
    for number, block in enumerate(blocks(page, "python")):
        exec(compile(block, f"{page}, block {number}", "exec"), names)
    return names


def network(channels: int = 3, classes: int = 1000) -> nn.Sequential:
    torch.manual_seed(0)
    layers = [
        nn.Conv2d(channels, 8, 3, 2),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, classes),
    ]
    return nn.Sequential(*layers).eval()


def write(
    model: nn.Module, path: str, *images: torch.Tensor, names: tuple[str, ...] = ("images",)
) -> None:
    """The file as PyTorch's exporter writes it."""
    torch.onnx.export(model, images, path, dynamo=True, verbose=False, input_names=list(names))


def size(path: str) -> tuple[int, int]:
    with Image.open(path) as picture:
        return picture.size


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    photograph("chelsea").save("cat.jpg")
    photograph("chelsea").resize((320, 240)).save("street.jpg")
    return tmp_path


def test_readme(monkeypatch):
    import torchvision

    fresh: Callable = torchvision.models.resnet50
    monkeypatch.setattr(torchvision.models, "resnet50", lambda weights: fresh())
    load = models.load_model
    monkeypatch.setattr(models, "load_model", lambda spec: load(spec, "none"))
    names = run("README.md", images=torch.rand(2, 3, 224, 224))
    assert size("cat.png")[0] > 400
    assert size("heatmap.png") == (224, 224)
    assert names["logits"].shape == (1, 1000)


def test_functions():
    names = run("docs/functions.md")
    assert names["alike"].heatmap.shape == (2, 64, 64)
    assert names["alike"].score.abs().max() <= 1
    torch.testing.assert_close(
        names["unsure"].score, names["entropy"](names["classifier"](names["images"]))
    )
    z = names["classifier"](names["images"])
    torch.testing.assert_close(names["found"].score, 0.5 * z[:, 0] + 0.5 * z[:, 1] - z[:, 4])


def test_export(folder):
    report = run("docs/export.md")["report"]
    assert (folder / "digits.onnx").stat().st_size == report.bytes
    page = (ROOT / "docs/export.md").read_text("utf-8")
    # what the page shows is what is printed, but for times and rounding
    assert f"{report.nodes} nodes" in page
    assert [line.split()[0] for line in str(report).splitlines()[4:]] == re.findall(
        r"^(\w+) +[\d.e+-]+  ", page, re.MULTILINE
    )


def test_edge(folder):
    shutil.copy(ROOT / "camport/demo/samples/four-seven.png", "scene.png")
    for command in commands("docs/edge.md"):
        assert main(command) == 0, command
    names = run("docs/edge.md")
    assert size("seven.png") == size("scene.png")
    np.testing.assert_allclose(names["heatmap"][0], names["maps"]["seven"], atol=1e-4)
    np.testing.assert_allclose(names["score"], names["result"].score, atol=1e-3)


def test_pictures(folder):
    names = run("docs/pictures.md")
    shutil.copytree(
        folder,
        folder / "photos",
        ignore=lambda place, found: [f for f in found if not f.endswith(".jpg")],
    )
    scene = make_scene(151, split="held-out", digits=2)  # as docs/detection.md makes it
    Image.fromarray(scene.image).save("street.png")
    for command in commands("docs/pictures.md"):
        assert main(command) == 0, command
    assert size("boxes.png")[1] > 2 * 200  # two digits, a row each
    assert sorted(path.name for path in (folder / "maps").glob("*.png")) == [
        "cat.png",
        "street.png",
    ]
    assert names["found"].targets == ("Egyptian cat", "tiger cat")
    assert len(names["maps"]) > 4
    assert size("edge.png") == size("cat.jpg")
    assert (folder / "cats.html").read_text("utf-8").count(
        "<figure>"
    ) == 4  # what the command wrote over the one with six


def test_video():
    cv2 = pytest.importorskip(
        "cv2", reason='pip install "camport[oracles]", whose grad-cam brings it'
    )
    clip = cv2.VideoWriter("street.mp4", cv2.VideoWriter_fourcc(*"mp4v"), 10, (160, 120))
    for shift in range(3):
        clip.write(
            np.asarray(Image.open("street.jpg").resize((160, 120)))[:, :, ::-1] // 2 + 10 * shift
        )
    clip.release()
    for command in commands("docs/video.md"):
        assert main(command) == 0
    run("docs/video.md")
    explained = cv2.VideoCapture("explained.mp4")
    assert explained.get(cv2.CAP_PROP_FRAME_COUNT) == 3
    assert explained.get(cv2.CAP_PROP_FRAME_WIDTH) == 160


def test_onnx_files():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = network()

        def forward(self, data, im_scale):
            return self.body(data) * im_scale[:, :1]

    write(network(), "model.onnx", torch.rand(1, 3, 224, 224))
    write(network(5), "satellite.onnx", torch.rand(1, 5, 64, 64))
    write(
        Two().eval(),
        "two.onnx",
        torch.rand(1, 3, 64, 64),
        torch.ones(1, 2),
        names=("data", "im_scale"),
    )
    np.save("bands.npy", np.random.default_rng(0).integers(0, 255, (5, 64, 64), np.uint8))
    for command in commands("docs/onnx_files.md"):
        if command[0] == "run":  # of the network of five channels
            assert main(["export", "-m", "satellite.onnx", "-o", "explained.onnx"]) == 0
        assert main(command) == 0, command
    names = run("docs/onnx_files.md")
    assert names["loaded"].guessed


def test_photographs():
    for command in commands("docs/photographs.md"):
        assert main(command) == 0, command
    found = run("docs/photographs.md")["found"]
    assert "| Grad-CAM | 9 of 11 |" in (ROOT / "docs/photographs.md").read_text("utf-8")
    assert round(float(found.scores["pointing"]) * 11) == 9


def test_training(monkeypatch):
    model = nn.Sequential()
    model.add_module("layer4", network(classes=4)[:2])
    model.add_module("head", network(classes=4)[2:])
    images, labels = torch.rand(4, 3, 32, 32), torch.tensor([0, 1, 2, 3])
    monkeypatch.setattr(
        torch, "autocast", lambda device, **options: torch.amp.autocast("cpu", **options)
    )
    names = run(
        "docs/training.md",
        model=model.eval(),
        loader=[(images, labels)],
        criterion=nn.functional.cross_entropy,
        images=images,
        labels=labels,
        epochs=2,
        train=lambda model: None,
    )
    assert names["loss"].isfinite()
    assert names["drift"].means == pytest.approx([0.0], abs=1e-6)


def test_evaluation():
    names = run("docs/evaluation.md")
    assert names["table"].cell("gradcam", "pointing_game").mean > 0.5
    assert (
        Path("four/table.csv").read_text().count("pointing_game") == 4
    )  # two methods, and what they are compared with
