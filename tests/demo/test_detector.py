"""The shipped detector: it finds held-out digits,
and its maps lie on the digit that was asked about."""

import json
import statistics

import pytest
import torch

import camport
from benchmarks.detectors.detection import cases, region, scored, target
from camport.demo.detector import DigitDetector, load
from camport.demo.networks import WEIGHTS


@pytest.fixture(scope="module")
def found():
    return cases(30)


def test_the_reported_precision():
    scores = json.loads((WEIGHTS / "scores.json").read_text())["detector"]
    assert scores["mAP50"] >= 0.85
    assert statistics.mean(scores["AP50_per_label"].values()) == pytest.approx(
        scores["mAP50"], abs=1e-3
    )
    assert (WEIGHTS / "detector.safetensors").stat().st_size < 1_500_000


def test_it_finds_the_digits(found):
    """Those of scenes that neither training nor its score saw,
    without a false one in nine of ten scenes."""
    bound = camport.bind(load(), adapter="detection")
    right = 0
    for image, digits in found:
        explanation = bound(image)
        right += sorted(explanation.target.tolist()) == sorted(d.label for d in digits)
    assert right >= 0.8 * len(found)


def test_default_maps_lie_on_the_digit_asked_about(found):
    bound = camport.bind(load(), adapter="detection")
    assert bound.explainer.name == "odam"
    maps = [bound(image, target(digits)).heatmap for image, digits in found]
    energy, pointing, apart, pairs = scored(maps, [digits for _, digits in found])
    assert energy >= 0.6
    assert pointing >= 0.95
    assert pairs
    assert apart == 1


def test_two_boxes_of_one_class_have_maps_of_their_own():
    image, digits = next((i, d) for i, d in cases(60) if len(d) == 2 and d[0].label == d[1].label)
    one, other = camport.explain(load(), image, target=target(digits), adapter="detection").heatmap
    first, second = region(digits)
    assert float((one - other).abs().max()) > 0.5
    assert float(one[first].sum()) > 5 * float(one[second].sum())
    assert float(other[second].sum()) > 5 * float(other[first].sum())


def test_it_answers_in_the_classic_form():
    network = DigitDetector()
    images = torch.zeros(2, 3, 128, 96)
    assert [tuple(raw.shape) for raw in network.train()(images)] == [
        (2, 3, 32, 24, 15),
        (2, 3, 16, 12, 15),
        (2, 3, 8, 6, 15),
    ]
    candidates, raw = network.eval()(images)
    assert candidates.shape == (2, 3 * (32 * 24 + 16 * 12 + 8 * 6), 15)
    assert len(raw) == 3
