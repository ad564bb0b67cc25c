"""Detections on the command line."""

import numpy as np
import pytest
from PIL import Image

from camport.demo.scenes import make_scene


@pytest.fixture
def street(tmp_path):
    """A wide picture with a scene of two threes in its right part, so that the letterbox matters;
    and the scene."""
    scene = next(
        s
        for s in (make_scene(seed, split="held-out", digits=2) for seed in range(200))
        if len({d.label for d in s.digits}) == 1
    )
    picture = Image.new("RGB", (148, 128), (90, 90, 90))
    picture.paste(Image.fromarray(scene.image), (20, 0))
    picture.save(tmp_path / "street.png")
    return tmp_path / "street.png", scene


def test_each_detection_is_drawn(camport, street, tmp_path):
    photo, scene = street
    done = camport("explain", photo, "-m", "demo:detector", "-o", "out.png")
    assert (done.status, done.err) == (0, "")
    line = next(line for line in done.out.splitlines() if line.startswith(str(photo)))
    assert (
        line.count(
            ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")[
                scene.digits[0].label
            ]
        )
        == 2
    )
    with Image.open(tmp_path / "out.png") as picture:
        assert picture.width > 3 * 148


def test_numbers_of_a_named_box(camport, street, tmp_path):
    photo, scene = street
    digit = scene.digits[0]
    left, top, right, bottom = digit.box
    box = f"{left + 20},{top},{right + 20},{bottom}"
    options = ("--box", box, "--target", str(digit.label), "-o", "out.npz")
    done = camport("explain", photo, "-m", "demo:detector", "--adapter", "detection", *options)
    assert (done.status, done.err) == (0, "")
    with np.load(tmp_path / "out.npz") as found:
        assert found["class_ids"].tolist() == [digit.label]
        assert found["iou"][0] > 0.5
        assert found["heatmap"].shape == (1, 128, 128)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ("--box", "10,10,10,20"),
            "box 10,10,10,20 has no area; wanted left < right and top < bottom",
        ),
        (
            ("--box", "300,10,320,20"),
            "box 300,10,320,20 lies outside the picture, which is 148 wide and 128 high",
        ),
        (("--box", "1,2,3"), "box '1,2,3' is not LEFT,TOP,RIGHT,BOTTOM in pixels"),
        (("--target", "seven"), "no detection is of class seven; found are: eight"),
        (("--target", "sven"), "unknown label 'sven'; did you mean 'seven'"),
        (
            ("--confidence", "0.9999"),
            "no detection reaches a confidence of 0.9999, the best has 0.9",
        ),
        (
            ("--adapter", "classification", "--box", "1,2,3,4"),
            "--box 1,2,3,4 is for --adapter detection or segmentation",
        ),
    ],
)
def test_bad_input_is_one_line(camport, street, tmp_path, options, message):
    done = camport("explain", street[0], "-m", "demo:detector", *options, "-o", "out.png")
    assert done.status == 2
    assert done.err.startswith("camport: error: ")
    assert message in done.err
    assert done.err.count("\n") == 1
    assert not (tmp_path / "out.png").exists()


def test_checkpoints_with_objects_are_refused(camport, street, tmp_path, monkeypatch):
    """Nothing of the package is imported before somebody vouches for the file."""
    import torch

    (tmp_path / "ultralytics").mkdir()
    (tmp_path / "ultralytics" / "__init__.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    torch.save({"model": 1}, tmp_path / "best.pt")
    done = camport("explain", street[0], "-m", "ultralytics:best.pt", "-o", "out.png")
    assert done.status == 2
    assert "best.pt holds Python objects, and loading it may run any code" in done.err
    assert "--trust-checkpoint" in done.err
    done = camport("explain", street[0], "-m", "ultralytics:worst.pt", "-o", "out.png")
    assert "checkpoint worst.pt does not exist" in done.err


def test_a_package_that_is_not_there(camport, street):
    done = camport("explain", street[0], "-m", "yolov5:best.pt", "-o", "out.png")
    assert done.status == 2
    assert 'where you run camport: pip install "setuptools<81" yolov5' in done.err
