"""What `camport export` is traced with and asked about,
and the thresholds that a detector's file holds."""

import inspect
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import camport as library
from camport import export
from camport.adapters import DetectionAdapter
from camport.cli.export import FORMATS, NOT_TORCHSCRIPT, ONNX_ALONE
from camport.core import registry
from camport.demo.answerer import ANSWERS
from camport.runtime import Preprocess, load, open_image
from camport.targets import Field
from tests.cli.quiet import make

pytestmark = pytest.mark.filterwarnings("ignore::camport.errors.CamportWarning")

QUIET = (
    "-m",
    "tests.cli.quiet:make",
    "--adapter",
    "detection",
    "--method",
    "layercam",
    "--size",
    "64x64",
)


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    """Twelve pictures in a folder, beside a file that is none."""
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "notes.txt").write_text("no picture")
    generator = np.random.default_rng(0)
    for i in range(12):
        small = Image.fromarray(generator.integers(0, 255, (5, 6, 3), dtype=np.uint8))
        small.resize((80, 64)).save(folder / f"{i:02}.png")
    return sorted(folder.glob("*.png"))


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> dict:
    """What an export is given; nothing is exported."""
    given: dict = {}

    def keep(bound, path, images, target=None, **options):
        given.update(bound=bound, images=images, target=target, options=options)
        return "kept"

    for name in ("to_onnx", "to_pt2", "to_torchscript"):
        monkeypatch.setattr(export, name, keep)
    return given


@pytest.mark.everything
def test_a_quiet_detector_is_exported_with_its_thresholds(camport, photos, tmp_path) -> None:
    thresholds = ("--confidence", 0.001, "--iou", 0.3, "--most", 3)
    done = camport(
        *(
            "export",
            *QUIET,
            "--one-image",
            "--nms",
            *thresholds,
            "--images",
            tmp_path / "photos",
            "-o",
            "q.onnx",
        )
    )
    assert done.status == 0, done.err
    explainer = load(tmp_path / "q.onnx")
    options = explainer.metadata["adapter"]["options"]
    assert [options[name] for name in ("threshold", "iou", "most")] == [0.001, 0.3, 3]
    bound = library.bind(
        make(), "layercam", adapter=DetectionAdapter(threshold=0.001, iou=0.3, most=3)
    )
    for photo in photos[:3]:
        pixels, _ = explainer.preprocess.apply(open_image(photo))
        eager, result = bound(torch.from_numpy(pixels)[None]), explainer(pixels[None])
        assert len(result.detections) == 3
        assert result.detections[:, 5].max() < 0.1
        np.testing.assert_allclose(result.detections[:, 1:5], eager.figures["boxes"], atol=1e-2)
        np.testing.assert_allclose(result.detections[:, 5], eager.figures["confidence"], atol=1e-5)
        np.testing.assert_allclose(result.heatmap, eager.heatmap, atol=1e-3)
    done = camport("run", "q.onnx", photos[0], "-o", "q.png")
    assert done.status == 0, done.err


@pytest.mark.everything
def test_a_quiet_detectors_plain_file(camport, tmp_path) -> None:
    done = camport("export", *QUIET, "-o", "q.onnx")
    assert done.status == 0, done.err
    pixels = np.random.default_rng(0).random((1, 3, 64, 64), np.float32)
    result = load(tmp_path / "q.onnx")(pixels, boxes=np.zeros((1, 4), np.float32))
    best = library.bind(make(), "layercam", adapter=DetectionAdapter(threshold=0.0, most=1))(
        torch.from_numpy(pixels)
    )
    np.testing.assert_allclose(result.heatmap, best.heatmap, atol=1e-3)
    np.testing.assert_allclose(result.score, best.score, rtol=1e-4)


@pytest.mark.parametrize("model", ["demo:gap-pool", "demo:detector", "demo:segmenter"])
def test_the_users_pictures_are_traced(camport, photos, traced, model) -> None:
    done = camport(
        "export", "-m", model, "--images", photos[3], "--images", photos[5], "-o", "x.pt2"
    )
    assert done.status == 0, done.err
    spec = Preprocess(**traced["bound"].preprocess)
    expected = np.stack([spec.apply(open_image(photo))[0] for photo in (photos[3], photos[5])])
    np.testing.assert_array_equal(traced["images"], expected)
    assert traced["target"] is None


def test_of_a_folder_some_are_traced(camport, photos, traced) -> None:
    assert (
        camport(
            "export", "-m", "demo:gap-pool", "--images", photos[0].parent, "-o", "x.onnx"
        ).status
        == 0
    )
    spec = Preprocess(**traced["bound"].preprocess)
    rows = (0, 2, 3, 5, 6, 8, 9, 11)
    np.testing.assert_array_equal(
        traced["images"], [spec.apply(open_image(photos[i]))[0] for i in rows]
    )


def test_boxes_are_the_pictures_own(camport, photos, traced) -> None:
    """The letterbox makes 80 x 64 pixels 128 x 102, with 13 rows above."""
    shown = ("--images", photos[0], "--images", photos[1])
    done = camport("export", "-m", "demo:detector", *shown, "--box", "10,10,40,30", "-o", "x.onnx")
    assert done.status == 0, done.err
    scale = (128 / 80, 102 / 64)
    box = [10 * scale[0], 13 + 10 * scale[1], 40 * scale[0], 13 + 30 * scale[1]]
    np.testing.assert_allclose(traced["target"]["boxes"], [box, box], atol=1e-3)
    done = camport(
        "export",
        "-m",
        "demo:detector",
        *shown,
        "--box",
        "1,2,9,9",
        "--box",
        "10,10,40,30",
        "-o",
        "x.onnx",
    )
    assert done.status == 0, done.err
    np.testing.assert_allclose(traced["target"]["boxes"][1], box, atol=1e-3)
    traced["bound"].program(traced["images"], traced["target"])
    assert (
        camport("export", "-m", "demo:segmenter", *shown, "--box", "1,2,9,9", "-o", "x.onnx").status
        == 0
    )
    assert len(traced["target"]["box"]) == 4


def test_what_is_asked_of_the_pictures(camport, photos, traced, monkeypatch) -> None:
    """Classes, answers and words by `--target`; of a task with fields each picture's own values."""
    shown = ("--images", photos[0], "--images", photos[1], "-o", "x.onnx")

    def asked(name: str, *target: str) -> Any:
        done = camport("export", "-m", f"demo:{name}", *shown, *target)
        assert done.status == 0, done.err
        return traced["target"]

    assert asked("digits", "--target", "3") == 3
    assert asked("segmenter", "--target", "two")["class"] == 3
    assert asked("answerer", "--target", "yes")["answer"] == ANSWERS.index("yes")
    assert asked("captioner", "--target", "seven") == "seven"
    found = asked("detector", "--target", "seven", "--target", "box=10,10,40,30")
    assert found["class_ids"].tolist() == [7, 7]
    assert found["boxes"].shape == (2, 4)
    done = camport("export", "-m", "demo:detector", *shown, "--target", "seven")
    assert "--target seven: name the box too, e.g. --box 10,10,60,60" in done.err


@pytest.mark.parametrize(
    "method",
    [("layercam(gamma=3.0)",), ("layercam", "--option", "gamma=3.0")],
    ids=["text", "option"],
)
def test_options_of_the_method_and_the_adapter(camport, traced, method) -> None:
    """As in `camport explain`; the file's metadata hold them."""
    done = camport(
        *("export", "-m", "demo:digits", "--method", *method),
        *("--adapter-option", "score_as=probability", "-o", "x.onnx"),
    )
    assert done.status == 0, done.err
    bound = traced["bound"]
    assert (bound.explainer.name, bound.explainer.gamma) == ("layercam", 3.0)
    assert bound.adapter.score_as == "probability"
    held = bound.metadata(traced["images"])
    assert json.loads(held["camport.method"])["options"] == {"gamma": 3.0, "preset": "paper"}
    assert json.loads(held["camport.adapter"])["options"]["score_as"] == "probability"


class Pointed(library.Adapter):
    """What an output has at a point, which has to be given."""

    name, title = "pointed", "A value at a point"
    fields = (Field("place", "point"), Field("channel", "class"))

    def check(self, outputs, target):
        pass

    def score(self, outputs, target):
        x, y = target["place"].long().unbind(1)
        return outputs[torch.arange(len(x)), target["channel"], y, x]


def test_fields_without_a_default_are_asked_of_each_picture(
    camport, photos, traced, monkeypatch
) -> None:
    found = registry.registered()
    owned = replace(found.classes["adapter"]["function"], cls=Pointed)
    monkeypatch.setitem(found.classes["adapter"], "pointed", owned)
    place = ("--target", "place=10,8", "--target", "channel=2")
    files = ("--images", photos[0], "--images", photos[1], "-o", "x.onnx")
    size = ("--preprocess", '{"size": [32, 32], "fit": "stretch"}')
    done = camport(
        "export", "-m", "tests.cli.quiet:make", "--adapter", "pointed", *size, *files, *place
    )
    assert done.status == 0, done.err
    np.testing.assert_allclose(traced["target"]["place"], [[4, 4], [4, 4]], atol=1e-3)
    assert traced["target"]["channel"].tolist() == [2, 2]


@pytest.mark.parametrize(
    ("match", "options"),
    [
        (
            "--confidence 0.1 is for --adapter detection",
            ("-m", "demo:digits", "--confidence", 0.1, "--most", 3),
        ),
        (
            "--box 1,2,3,4 is for --adapter detection or segmentation",
            ("-m", "demo:digits", "--box", "1,2,3,4"),
        ),
        (
            "unknown format 'yolo5'; did you mean 'yolov5'",
            ("-m", "demo:detector", "--format", "yolo5"),
        ),
        (
            "3 boxes for 2 pictures; give one for all of them, or 2",
            ("-m", "demo:detector", *("--box", "1,2,9,9") * 3),
        ),
        (
            "box 300,1,310,9 lies outside the picture",
            ("-m", "demo:detector", "--box", "300,1,310,9"),
        ),
        (
            "--method all: one file holds one method; name it",
            ("-m", "demo:digits", "--method", "all"),
        ),
        (
            "--option gama: layercam has no such option; there is: gamma, preset",
            ("-m", "demo:digits", "--method", "layercam", "--option", "gama=3"),
        ),
        ("none.png does not exist", ("-m", "demo:detector", "--images", "none.png")),
        (
            "'--most': (Input should be greater than or equal to 1|0 is not in the range x>=1)",
            ("-m", "demo:detector", "--most", 0),
        ),
    ],
)
def test_bad_options_are_one_line(refused, match, options) -> None:
    refused(match, "export", *options, "-o", "x.onnx")


def test_what_a_format_lacks_is_in_its_list() -> None:
    """Else `camport export -o x.pt2 --that` would be an internal error and not a refusal."""
    onnx, pt2, torchscript = (
        {
            p.name
            for p in inspect.signature(getattr(export, name)).parameters.values()
            if p.kind is p.KEYWORD_ONLY
        }
        for name in (FORMATS[".onnx"], FORMATS[".pt2"], FORMATS[".pt"])
    )
    assert {name.removeprefix("with_") for name in ONNX_ALONE} == onnx - pt2
    assert set(NOT_TORCHSCRIPT) == pt2 - torchscript
