"""`--sweep` and `--view` of what is asked: a box, a word, an answer, a region, a field."""

import numpy as np
import pytest

from tests.pages import ROOT

SCENE = ROOT / "camport/demo/samples/four-seven.png"
ASKED = {
    "segmenter": ("--target", "seven", "--box", "95,48,127,95"),
    "captioner": ("--target", "seven"),
    "answerer": ("--question", "how many sevens?"),
    "detector": ("--box", "95,48,127,95"),
}


@pytest.mark.parametrize("name", ASKED)
def test_the_sweep_is_of_what_was_asked(camport, name):
    """At the layer that is taken without it, the map is the one of the plain command."""
    model = ("-m", f"demo:{name}", "--method", "layercam", *ASKED[name])
    layer = ("--layer", "out3" if name == "detector" else "encoder.layer3")
    done = camport("explain", SCENE, *model, *layer, "-o", "plain.npz")
    assert done.status == 0, done.err
    done = camport("explain", SCENE, *model, *layer, "--sweep", "-o", "sweep.npz")
    assert done.status == 0, done.err
    plain, sweep = np.load("plain.npz")["heatmap"][0], np.load("sweep.npz")
    assert np.ptp(plain) > 0.5
    np.testing.assert_allclose(sweep[layer[1]], plain, atol=1e-5)


@pytest.mark.parametrize("name", ASKED)
def test_a_view_is_of_what_was_asked(camport, name):
    """The score that is told is the plain command's."""
    model = ("-m", f"demo:{name}", "--method", "layercam", *ASKED[name])
    done = camport("explain", SCENE, *model, "-o", "plain.npz")
    score = float(np.load("plain.npz")["score"][0])
    done = camport("explain", SCENE, *model, "--view", "map", "-o", "view.png")
    assert done.status == 0, done.err
    assert f"score {score:.2f}" in done.out


@pytest.mark.filterwarnings("ignore::camport.errors.DoubtWarning")
def test_several_are_refused(refused):
    boxes = ("--box", "95,48,127,95", "--box", "16,30,60,92")
    refused(
        "--sweep and --view draw one explanation of an image, and 2 are asked: name one",
        *("explain", SCENE, "-m", "demo:detector", *boxes, "--view", "map", "-o", "x.png"),
    )
    refused(
        "the question is empty", "explain", SCENE, "-m", "demo:answerer", "--sweep", "-o", "x.png"
    )
