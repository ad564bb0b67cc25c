"""Which outputs a file has, and the report beside it."""

import hashlib
import json
from pathlib import Path

import onnx
import pytest
import torch
from programs import IMAGES, Bound, CamProgram, small

from camport.errors import InputError, UnknownNameError
from camport.export import ExportReport, to_onnx, to_pt2, to_torchscript
from camport.export.output_selection import chosen
from tests.shared_files import SharedFiles

NAMES = [
    "outputs",
    "outputs_1",
    "score",
    "heatmap",
    "feature_maps",
    "feature_maps_1",
    "feature_maps_10",
    "gradients",
]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (["score", "heatmap"], ["score", "heatmap"]),
        (["heatmap", "outputs"], ["heatmap", "outputs", "outputs_1"]),
        (["feature_maps_1", "score"], ["feature_maps_1", "score"]),
        (["feature_maps"], ["feature_maps", "feature_maps_1", "feature_maps_10"]),
        (
            ["feature_maps_1", "feature_maps", "score", "score"],
            ["feature_maps_1", "feature_maps", "feature_maps_10", "score"],
        ),
    ],
)
def test_a_name_takes_its_numbered_ones(wanted: list[str], found: list[str]) -> None:
    assert chosen(NAMES, wanted) == tuple(found)


def test_two_maps_are_not_one() -> None:
    with pytest.raises(
        UnknownNameError, match="unknown output 'feature_map'; did you mean 'feature_maps'"
    ):
        chosen(NAMES, ["heatmap", "feature_map"])


def bound() -> Bound:
    return Bound(CamProgram(small(), "2", classes=10))


def alone(shared: SharedFiles) -> tuple[Path, ExportReport]:
    """The folder with a.onnx, the heatmap alone, and its report."""
    options = {"outputs": ("heatmap",), "report": True}
    return shared(
        "heatmap-alone", lambda folder: to_onnx(bound(), folder / "a.onnx", IMAGES, **options)
    )


def test_heatmap_alone(shared: SharedFiles) -> None:
    _, whole = shared("small-2", lambda folder: to_onnx(bound(), folder / "small.onnx", IMAGES))
    folder, report = alone(shared)
    model = onnx.load(folder / "a.onnx")
    assert [v.name for v in model.graph.output] == ["heatmap"]
    assert [v.name for v in model.graph.input] == ["images", "target"]
    assert list(report.parity) == ["heatmap"]
    assert report.nodes < whole.nodes
    used = {name for node in model.graph.node for name in node.input} | {"heatmap"}
    assert all(set(node.output) & used for node in model.graph.node)
    assert {t.name for t in model.graph.initializer} <= used


def test_prediction_alone_has_no_gradient(tmp_path: Path) -> None:
    report = to_onnx(bound(), tmp_path / "a.onnx", IMAGES, outputs=["outputs"])
    assert report.operators["Conv"] == 3
    assert not {"ConvTranspose", "Resize", "ScatterElements", "HardSigmoid"} & set(report.operators)


@pytest.mark.usefixtures("fresh_process")
@pytest.mark.everything
def test_order_is_the_users(tmp_path: Path) -> None:
    report = to_pt2(bound(), tmp_path / "a.pt2", IMAGES, outputs=("heatmap", "score"))
    extra = {"camport.outputs": ""}
    loaded = torch.export.load(tmp_path / "a.pt2", extra_files=extra)
    assert json.loads(extra["camport.outputs"]) == ["heatmap", "score"] == list(report.parity)
    heatmap, score = loaded.module()(torch.randn(3, 3, 33, 40), torch.tensor([1, 2, -1]))
    assert heatmap.shape == (3, 33, 40)
    assert score.shape == (3,)


@pytest.mark.everything
@pytest.mark.usefixtures("fresh_process")
@pytest.mark.filterwarnings("ignore:`torch.jit.load` is deprecated")
def test_torchscript(tmp_path: Path) -> None:
    report = to_torchscript(bound(), tmp_path / "a.pt", IMAGES, outputs=("score",), report=True)
    (score,) = torch.jit.load(tmp_path / "a.pt")(
        torch.randn(3, 3, 33, 40), torch.tensor([1, 2, -1])
    )
    assert score.shape == (3,)
    assert "scatter_add" not in report.operators
    assert json.loads((tmp_path / "a.pt.report.json").read_text())["opset"] is None


@pytest.mark.parametrize("outputs", ["heatmap", (), []])
@pytest.mark.parametrize("write", [to_onnx, to_pt2, to_torchscript])
def test_what_is_no_list_of_names_is_refused_first(
    tmp_path: Path, write: object, outputs: object
) -> None:
    with pytest.raises(InputError, match="give a list of names"):
        write(Bound(None), tmp_path / "a.onnx", IMAGES, outputs=outputs)


@pytest.mark.parametrize("write", [to_onnx, to_pt2, to_torchscript])
def test_an_unknown_name_is_refused(tmp_path: Path, write: object) -> None:
    with pytest.raises(UnknownNameError, match="unknown output 'scores'; did you mean 'score'"):
        write(bound(), tmp_path / "a.onnx", IMAGES, outputs=("heatmap", "scores"))
    assert not list(tmp_path.iterdir())


def test_report_beside_the_file(shared: SharedFiles) -> None:
    folder, report = alone(shared)
    assert sorted(p.name for p in folder.iterdir()) == ["a.onnx", "a.onnx.report.json"]
    stored = json.loads((folder / "a.onnx.report.json").read_text())
    assert stored["path"] == "a.onnx"
    assert stored["bytes"] == report.bytes == (folder / "a.onnx").stat().st_size
    assert stored["sha256"] == hashlib.sha256((folder / "a.onnx").read_bytes()).hexdigest()
    assert stored["parity"]["heatmap"]["exported"] == report.parity["heatmap"].exported
    assert stored["operators"] == report.operators
    assert not stored["flat"]


def test_a_flat_heatmap_is_told(tmp_path: Path) -> None:
    """Grad-CAM's ReLU leaves nothing where no channel speaks for the class."""

    class Flat(CamProgram):
        def __call__(self, state, inputs):
            result = super().__call__(state, inputs)
            return {**result, "heatmap": result["heatmap"] * 0}

    report = to_onnx(
        Bound(Flat(small(), "9", classes=10)), tmp_path / "a.onnx", IMAGES, outputs=["heatmap"]
    )
    assert report.flat
    assert "the heatmap was flat" in str(report)
