"""The power law that is fitted to times, and the networks whose size is stated."""

import numpy as np
import pytest
import torch

import camport
from camport.bench import Network, Plan
from camport.bench.growth import Series, Stack, fitted, growth
from camport.bench.growth_plot import plot
from camport.errors import InputError
from camport.plugins import ScoreCAM
from tests.counting import seen_by

SIZES = (1, 2, 4, 8, 16)


def test_an_exact_law_is_found():
    law = fitted(SIZES, [0.003 * n**1.7 for n in SIZES])
    assert law.exponent == pytest.approx(1.7, abs=1e-12)
    assert law.factor == pytest.approx(0.003, rel=1e-12)
    assert law.error == pytest.approx(0, abs=1e-7)


def test_the_standard_error_is_that_of_least_squares():
    noise = np.exp([0.05, -0.08, 0.02, 0.06, -0.03])
    times = 0.01 * np.array(SIZES) ** 0.9 * noise
    (exponent, constant), covariance = np.polyfit(np.log(SIZES), np.log(times), 1, cov=True)
    law = fitted(SIZES, times.tolist())
    assert law.exponent == pytest.approx(exponent, abs=1e-10)
    assert law.factor == pytest.approx(np.exp(constant), rel=1e-10)
    assert law.error == pytest.approx(covariance[0, 0] ** 0.5, rel=1e-10)


@pytest.mark.parametrize(
    ("sizes", "times"), [((1, 2), (1, 2)), ((1, 2, 4), (1, 0, 2)), ((1, 2, 4), (1, 2))]
)
def test_what_has_no_law_is_refused(sizes, times):
    with pytest.raises(InputError, match="wanted three or more of each, all above 0"):
        fitted(sizes, times)


@pytest.mark.parametrize("maps", [5, 16])
def test_score_cam_shows_a_stack_one_mask_a_map(maps):
    model = Stack(2, maps).eval()
    shown = seen_by(model.stem)
    images = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    bound = camport.bind(model, ScoreCAM(), "maps")
    bound(images)
    shown.clear()
    bound(images)
    assert sum(shown) == 1 + maps


def test_the_picture_is_a_picture(tmp_path):
    from PIL import Image

    series = [
        Series(axis, "bare", SIZES, tuple(0.01 * n for n in SIZES))
        for axis in ("batch", "pixels", "masks")
    ]
    plot(series, tmp_path / "growth.png")
    with Image.open(tmp_path / "growth.png") as picture:
        assert picture.width > picture.height  # two rows of two panels


@pytest.mark.everything
def test_every_axis_is_measured(monkeypatch):
    monkeypatch.setattr("camport.bench.growth.ROUNDS", (1, 1))
    plan = Plan((Network("demo:digits", size=64),), (), seconds=0)
    # the second does not fit a convolutional network
    found = growth(plan, ("gradcam@layer2", "attention_rollout"))
    assert [(s.axis, s.name, s.sizes) for s in found] == [
        *(("batch, demo:digits", name, (1, 2, 4, 8, 16)) for name in ("bare", "gradcam@layer2")),
        *(
            ("pixels, demo:digits", name, (32**2, 64**2, 96**2, 128**2))
            for name in ("bare", "gradcam@layer2")
        ),
        *(("residual blocks", name, (2, 4, 8, 16, 32)) for name in ("bare", "gradcam@layer2")),
        ("masks", "rise", (16, 32, 64, 128, 256)),
        ("masks", "scorecam", (16, 32, 64, 128, 256)),
    ]
    assert all(len(s.seconds) == len(s.sizes) and min(s.seconds) > 0 for s in found)
