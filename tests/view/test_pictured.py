"""Heatmaps of pixels' gradients in pictures: one outlier does not leave the rest dark,
and the numbers stay."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

import camport
from camport.cli import main
from camport.demo.networks import WEIGHTS
from camport.errors import InputError
from camport.models import load_model
from camport.view import overlay, pictured

HEATMAP = np.arange(401, dtype=np.float32).reshape(1, 401) / 400
"""Of its 400 positive values, 0.0025 to 1, the 99th percentile is 0.99 * 399 steps above the
first."""
PEAK = (1 + 0.99 * 399) / 400


def test_an_input_gradient_saturates_at_its_99th_percentile():
    got = pictured(HEATMAP, "input-gradient")
    np.testing.assert_allclose(got, np.minimum(HEATMAP / PEAK, 1), rtol=1e-6)
    assert int((got == 1).sum()) == 4
    assert int((got == 0).sum()) == 1


def test_zeros_do_not_count():
    """Behind a ReLU rule most of a gradient is 0."""
    sparse = np.concatenate([HEATMAP, np.zeros((100, 401), np.float32)])
    np.testing.assert_allclose(
        pictured(sparse, "input-gradient")[:1], np.minimum(HEATMAP / PEAK, 1), rtol=1e-6
    )
    assert not pictured(sparse[1:], "input-gradient").any()


def test_a_signed_map_is_cold_up_to_its_median():
    """0.6 was 0 before the map was brought to [0,1]; what was not seen, 0 around it,
    is no part of it."""
    said = np.concatenate(
        [np.full(900, 0.6), np.linspace(0.6, 0.8, 50), np.linspace(0.4, 0.6, 50)]
    ).astype(np.float32)
    unseen = np.zeros((3, 1000), np.float32)
    got = pictured(np.concatenate([said[None], unseen]), "input-gradient")
    high = np.percentile(said, 99)
    np.testing.assert_allclose(got[0], np.clip((said - 0.6) / (high - 0.6), 0, 1), atol=1e-5)
    assert not got[1:].any()
    assert 0.7 < high < 0.8


@pytest.mark.parametrize("family", ["activation", "perturbation", "attention", None])
def test_other_families_are_shown_as_they_are(family):
    assert pictured(HEATMAP, family) is HEATMAP


def test_a_percentile_has_a_range():
    with pytest.raises(InputError, match="percentile is 50; give more than 50, at most 100"):
        pictured(HEATMAP, "input-gradient", percentile=50)
    np.testing.assert_array_equal(pictured(HEATMAP, "input-gradient", percentile=100), HEATMAP)


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    picture = Image.open(WEIGHTS.parent / "samples" / "four-seven.png").convert("RGB")
    return np.asarray(picture.resize((64, 64)))


@pytest.mark.parametrize(
    ("method", "saturates"), [("saliency", True), ("guided_backprop", True), ("gradcam", False)]
)
def test_an_explanations_overlay(method, saturates, photo):
    loaded = load_model("demo:gap-pool")
    images = torch.from_numpy(loaded.preprocess.apply(Image.fromarray(photo))[0])[None]
    found = camport.bind(loaded.model, method)(images, 4)
    heatmap = found.heatmap[0].numpy()
    assert heatmap.max() == 1
    shown = (
        np.minimum(heatmap / np.percentile(heatmap[heatmap > 0], 99), 1) if saturates else heatmap
    )
    drawn = [
        np.asarray(picture).astype(int)
        for picture in (found.overlay([photo])[0], overlay(photo, shown))
    ]
    assert np.abs(drawn[0] - drawn[1]).max() <= 1
    np.testing.assert_array_equal(found.numbers()["heatmap"][0], heatmap)


def test_a_file_draws_what_pytorch_draws(photo, tmp_path):
    """The file says its method's family; the numbers that both write are the heatmap's own."""
    Image.fromarray(photo).save(tmp_path / "photo.png")
    model, file, drawn = ["-m", "demo:gap-pool", "--method", "saliency"], tmp_path / "a.onnx", {}
    assert main(["export", *model, "-o", str(file)]) == 0
    for command, which in (("explain", model), ("run", [])):
        first = [
            command,
            *([str(file)] if command == "run" else []),
            str(tmp_path / "photo.png"),
            *which,
        ]
        for suffix in ("png", "npy"):
            assert (
                main([*first, "--target", "four", "-o", str(tmp_path / f"{command}.{suffix}")]) == 0
            )
        heatmap = np.load(tmp_path / f"{command}.npy")[0]
        assert heatmap.max() == 1
        drawn[command] = np.asarray(Image.open(tmp_path / f"{command}.png")).astype(int)
        cell = np.asarray(
            overlay(photo, pictured(heatmap, "input-gradient"), alpha=0.6).resize((256, 256), 3)
        )
        found = [np.abs(drawn[command][y : y + 256, 282:538] - cell).max() for y in range(40, 110)]
        assert min(found) <= 2
    metadata = camport.bind(load_model("demo:gap-pool").model, "saliency").metadata(
        torch.zeros(1, 3, 64, 64)
    )
    assert json.loads(metadata["camport.method"])["family"] == "input-gradient"
