"""From best.pt and best.onnx to the map, as docs/detection.md says:
run where the packages are installed.

Weights are random: none can be fetched. The files are those that the packages' own training and
exporters write.
"""

import copy
import importlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import camport
from camport.adapters import DetectionAdapter
from camport.cli import main
from camport.models import load_model
from tests.yolo.environment import CHECKOUT
from tests.yolo.networks import finding, of_three, street

pytestmark = pytest.mark.filterwarnings("ignore::camport.errors.CamportWarning")
SIZE = 160
PREPARED = ("--preprocess", f'{{"size": [{SIZE}, {SIZE}], "fit": "letterbox"}}')
PACKAGES = ("yolov5", "ultralytics")


def checkpoint(package: str, folder: Path) -> Path:
    """best.pt as the package's training leaves it:
    a dictionary with the network in half precision."""
    path = folder / "best.pt"
    if package == "yolov5":
        yolo = importlib.import_module("yolov5.models.yolo")
        config = of_three(Path(yolo.__file__).parent / "yolov5n.yaml", folder)
        model = finding(yolo.DetectionModel(str(config)))
        kept = copy.deepcopy(model).half()
        told = {
            "epoch": -1,
            "best_fitness": None,
            "ema": None,
            "updates": None,
            "optimizer": None,
            "opt": None,
        }
        torch.save(
            {**told, "model": kept, "date": "2026-01-01T00:00:00", "yolov5pip_version": "7.0.14"},
            path,
        )
    else:
        ultralytics = importlib.import_module("ultralytics")
        configs = Path(ultralytics.__file__).parent / "cfg" / "models" / "v8" / "yolov8.yaml"
        config = of_three(configs, folder).rename(folder / "yolov8n.yaml")
        model = ultralytics.YOLO(str(config), verbose=False)
        finding(model.model)
        model.save(path)
    return path


def own_export(package: str, file: Path) -> Path:
    """best.onnx by the package's own exporter."""
    if package == "yolov5":
        importlib.import_module("yolov5.export").run(
            weights=str(file), imgsz=(SIZE, SIZE), include=("onnx",), opset=17
        )
    else:
        network = importlib.import_module("ultralytics").YOLO(str(file))
        network.export(format="onnx", imgsz=SIZE, simplify=False, opset=17)
    return file.with_suffix(".onnx")


@pytest.fixture
def objects(monkeypatch):
    """What yolov5's own loader needs since PyTorch 2.6; camport's is to do without."""
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")


@pytest.fixture(scope="module", params=PACKAGES)
def written(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    street(folder)
    return request.param, checkpoint(request.param, folder)


@pytest.fixture
def command(written, monkeypatch, capsys):
    """command("explain", ...) in the checkpoint's folder."""
    monkeypatch.chdir(written[1].parent)

    def run(*arguments: str) -> str:
        capsys.readouterr()
        status = main(list(arguments))
        said = capsys.readouterr()
        assert not status, said.err
        return said.out

    return run


def test_best_pt(written, command):
    package, file = written
    spec = ("--model", f"{package}:best.pt", "--trust-checkpoint")
    said = command("explain", "street.jpg", *spec, *PREPARED, "-o", "out.png")
    line = next(line for line in said.splitlines() if line.startswith("street.jpg"))
    assert re.search(r"(car|bus|tram) 0\.\d\d", line)
    with Image.open(file.with_name("out.png")) as picture:
        assert picture.width > 480
    command("explain", "street.jpg", *spec, *PREPARED, "--box", "100,60,300,200", "-o", "one.npz")
    with np.load(file.with_name("one.npz")) as found:
        assert found["heatmap"].shape[0] == 1
        assert found["boxes"].shape == (1, 4)


@pytest.fixture
def bare(written, objects):
    return own_export(*written)


def test_best_onnx_of_the_packages_own_exporter(written, bare, command):
    """The bare file, its nodes rebuilt with their gradients,
    finds and explains what the checkpoint does."""
    package, file = written
    assert bare.is_file()
    asked = (
        *PREPARED,
        "--box",
        "40,30,200,180",
        "--box",
        "250,100,400,250",
        "--box",
        "10,150,120,280",
    )
    command(
        "explain",
        "street.jpg",
        "--model",
        "best.onnx",
        "--adapter",
        "detection",
        *asked,
        "-o",
        "file.npz",
    )
    spec = ("--model", f"{package}:best.pt", "--trust-checkpoint")
    command("explain", "street.jpg", *spec, *asked, "-o", "network.npz")
    with (
        np.load(file.with_name("file.npz")) as one,
        np.load(file.with_name("network.npz")) as other,
    ):
        assert one["index"].tolist() == other["index"].tolist()
        assert one["class_ids"].tolist() == other["class_ids"].tolist()
        np.testing.assert_allclose(one["boxes"], other["boxes"], atol=0.05)
        np.testing.assert_allclose(one["confidence"], other["confidence"], atol=1e-3)
        np.testing.assert_allclose(one["score"], other["score"], atol=1e-2)
        np.testing.assert_allclose(one["heatmap"], other["heatmap"], atol=0.02)
        assert one["heatmap"].max() == 1


def test_what_the_packages_wrap_it_in(written, objects):
    """AutoShape after a prediction, and YOLO after one: explained is the network inside,
    as loaded by camport."""
    package, file = written
    images = torch.rand(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(5))
    adapter = DetectionAdapter(threshold=0.0, most=2)
    expected = camport.bind(
        load_model(f"{package}:{file}", trust_checkpoint=True).model, adapter=adapter
    )(images)
    picture = np.zeros((SIZE, SIZE, 3), np.uint8)
    if package == "yolov5":
        wrapped = importlib.import_module("yolov5").load(str(file), device="cpu")
        wrapped(picture, size=SIZE)
    else:
        wrapped = importlib.import_module("ultralytics").YOLO(str(file))
        wrapped.predict(picture, imgsz=SIZE, verbose=False, save=False, device="cpu")
    asked = {"index": expected.figures["index"], "class_ids": expected.target}
    found = camport.bind(wrapped, adapter=adapter)(images, asked)
    torch.testing.assert_close(
        found.figures["boxes"], expected.figures["boxes"], rtol=1e-3, atol=1e-2
    )
    torch.testing.assert_close(found.heatmap, expected.heatmap, rtol=0, atol=2e-2)


def page(package: str) -> list[str]:
    """The Python of docs/detection.md, for a network of this package, of smaller pictures."""
    text = (CHECKOUT / "docs" / "detection.md").read_text(encoding="utf-8")
    first, session, explainer = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    ((other, line),) = re.findall(r"^# or (.*)\n(model = .*)$", first, re.MULTILINE)
    assert "yolov5:best.pt" in line
    assert "ultralytics" in other
    if package == "ultralytics":
        first = first.replace(line, f"import ultralytics\nmodel = {other}")
    first = first.replace("(640, 640)", f"({SIZE}, {SIZE})")
    return [
        first.replace("[[210.0, 120.0, 340.0, 415.0]]", "[[40.0, 40.0, 90.0, 100.0]]"),
        session,
        explainer,
    ]


def run(code: str, names: dict[str, Any]) -> None:
    exec(compile(code, "docs/detection.md", "exec"), names)


def test_the_pages_python(written, command):
    names: dict[str, Any] = {}
    run(page(written[0])[0], names)
    assert names["heatmap"].shape == (288, 480)
    assert names["one"].heatmap.shape[0] == 1
    assert len(names["found"].heatmap) > 1


@pytest.mark.parametrize("written", ["yolov5"], indirect=True)
def test_the_pages_file_for_the_edge(written, command):
    spec = ("--model", "yolov5:best.pt", "--trust-checkpoint")
    names: dict[str, Any] = {}
    given, session, explainer = page("yolov5")
    run(given, names)
    command("export", *spec, *PREPARED, "--one-image", "--nms", "--report", "-o", "best-odam.onnx")
    report = json.loads(written[1].with_name("best-odam.onnx.report.json").read_text())
    assert report["dynamic"] == ["m"]
    for name in ("score", "heatmap"):
        parity = report["parity"][name]
        assert parity["exported"] <= max(3 * parity["eager"], 1e-5)
    said = command("run", "best-odam.onnx", "street.jpg", "-o", "edge.png")
    assert re.search(r"street.jpg: (car|bus|tram) 0\.\d\d", said)
    run(session, names)
    rows, eager = names["found"], names["bound"](torch.from_numpy(names["pixels"])[None])
    best = np.argsort(-rows[:, 5], kind="stable")[0]
    np.testing.assert_allclose(rows[best, 1:5], eager.figures["boxes"][0], atol=0.05)
    np.testing.assert_allclose(names["heatmaps"][best], eager.heatmap[0], atol=0.02)
    assert len(names["heatmaps"]) == len(rows) > 1
    command("export", *spec, *PREPARED, "--one-image", "-o", "best-odam.onnx")
    run(explainer, names)
    assert len(names["maps"]) == len(names["found"].boxes)
    np.testing.assert_allclose(names["maps"][0], eager.heatmap[0], atol=0.02)
    assert names["first"].heatmap.shape == (1, SIZE, SIZE)
