"""Answers that a model writes word by word (`vqa-words`): explained, exported and run."""

import sys

import numpy as np
import pytest

from tests.pages import ROOT

SCENE = ROOT / "camport/demo/samples/four-seven.png"
NETWORK = """
from camport.testing.networks import AnswerNet, seeded

def answerer():
    model = seeded(AnswerNet()).float()
    model.question_words = ("<pad>", "how", "many", "sevens", "a", "two")
    model.question_length = 4
    model.caption_words = ("<start>", "<end>", "one", "two", "no", "yes", "six", "ten", "red")
    model.caption_length, model.start_token, model.end_token = 4, 0, 1
    return model
"""
MODEL = ("-m", "written_nets:answerer", "--adapter", "vqa-words")
SIZE = '{"size": [24, 24]}'
ASKED = ("--question", "how many sevens?")


@pytest.fixture
def network(monkeypatch, tmp_path):
    (tmp_path / "written_nets.py").write_text(NETWORK)
    yield
    sys.modules.pop("written_nets", None)


def test_explained_exported_and_run(camport, network):
    done = camport("explain", SCENE, *MODEL, *ASKED, "--preprocess", SIZE, "-o", "one.npz")
    assert done.status == 0, done.err
    (said,) = (line for line in done.out.splitlines() if line.startswith(str(SCENE)))
    answer = said.removeprefix(f"{SCENE}: ").partition(", log p ")[0]
    assert set(answer.split()) <= {
        "<start>",
        "<end>",
        "one",
        "two",
        "no",
        "yes",
        "six",
        "ten",
        "red",
    }
    done = camport("export", *MODEL, "--preprocess", SIZE, "-o", "one.onnx")
    assert done.status == 0, done.err
    done = camport("run", "one.onnx", SCENE, *ASKED, "--caption", answer, "-o", "edge.npz")
    assert done.status == 0, done.err
    eager, edge = np.load("one.npz"), np.load("edge.npz")
    assert float(eager["score"][0]) == pytest.approx(float(edge["score"][0]), abs=1e-4)
    assert np.abs(eager["heatmap"] - edge["heatmap"]).max() < 1e-3
    assert np.ptp(eager["heatmap"]) > 0.5


def test_one_word_of_it(camport, network):
    whole = camport("explain", SCENE, *MODEL, *ASKED, "--preprocess", SIZE, "-o", "a.npz")
    word = whole.out.partition(f"{SCENE}: ")[2].split()[0].rstrip(",")
    done = camport(
        *("explain", SCENE, *MODEL, *ASKED, "--preprocess", SIZE),
        *("--target", word, "-o", "b.npz"),
    )
    assert done.status == 0, done.err
    assert f"{word}, log p" in done.out
    assert np.load("b.npz")["score"][0] > np.load("a.npz")["score"][0]


@pytest.mark.parametrize(
    ("match", "arguments"),
    [
        ("the question is empty; ask one", ()),
        (
            r"the question has the word 'sevns', which is not known; nearest: sevens",
            ("--question", "sevns"),
        ),
        (
            "--box 1,2,3,4 is for --adapter detection or segmentation, and the task is vqa-words",
            (*ASKED, "--box", "1,2,3,4"),
        ),
    ],
)
def test_refused(refused, network, match, arguments):
    refused(match, "explain", SCENE, *MODEL, *arguments, "--preprocess", SIZE, "-o", "x.png")


def test_a_question_about_boxes_is_refused(refused):
    refused(
        r"--question why\? is for --adapter vqa or vqa-words, and the task is detection",
        *("explain", SCENE, "-m", "demo:detector", "--question", "why?", "-o", "x.png"),
    )
