"""`--json`: a line of JSON for each image; and `--device`."""

import json

import numpy as np
import pytest
import torch

from tests.pages import ROOT

SCENE = ROOT / "camport/demo/samples/four-seven.png"


def lines(done):
    assert done.status == 0, done.err
    return [json.loads(line) for line in done.out.splitlines()]


def test_explain_tells_class_score_and_file(camport):
    one, two = lines(camport("explain", SCENE, SCENE, "-m", "demo:digits", "-o", "a.npz", "--json"))
    assert one == two
    numbers = np.load("a.npz")
    assert one["label"] == str(one["target"]) or one["label"].isalpha()
    assert one["score"] == pytest.approx(float(numbers["score"][0]), abs=1e-5)
    assert (one["image"], one["output"]) == (str(SCENE), "a.npz")
    assert one["method"] == "gradcam"
    assert one["layers"] == ["layer3"]


def test_a_sweep_and_a_word(camport):
    (one,) = lines(
        camport("explain", SCENE, "-m", "demo:digits", "--sweep", "-o", "a.png", "--json")
    )
    assert one["layers"][-1] == "layer3"
    word = ("-m", "demo:captioner", "--target", "seven")
    (one,) = lines(camport("explain", SCENE, *word, "-o", "b.png", "--json"))
    assert one["explained"].startswith("seven, log p ")


def test_a_file_says_what_pytorch_says(camport, tmp_path):
    model = ("-m", "demo:detector")
    (eager,) = lines(camport("explain", SCENE, *model, "-o", "a.png", "--json"))
    (made,) = lines(camport("export", *model, "--one-image", "-o", "d.onnx", "--json"))
    assert made["output"] == "d.onnx"
    assert max(one["exported"] for one in made["parity"].values()) < 1e-3
    (edge,) = lines(camport("run", "d.onnx", SCENE, "-o", "b.png", "--json"))
    assert [one["label"] for one in edge["found"]] == [one["label"] for one in eager["found"]]
    for a, b in zip(edge["found"], eager["found"], strict=True):
        np.testing.assert_allclose(a["box"], b["box"], atol=0.01)
        assert a["confidence"] == pytest.approx(b["confidence"], abs=1e-4)


def test_errors_are_no_json(camport, tmp_path):
    done = camport("explain", "none.png", "-m", "demo:digits", "-o", "a.png", "--json")
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("camport: error: ")


def test_a_device_that_is_not_there(refused):
    explain = ("explain", SCENE, "-m", "demo:digits", "-o", "a.png", "--device")
    refused(r"--device gpu: .*; here there is: cpu", *explain, "gpu")
    if not torch.cuda.is_available():
        refused(r"--device cuda: .*; here there is: cpu", *explain, "cuda")
