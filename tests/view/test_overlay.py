"""Overlays: hot is coloured, cold is the image, and wrong input says what is wrong."""

import numpy as np
import pytest
from PIL import Image

from camport.errors import InputError, UnknownNameError
from camport.view import COLORMAPS, apply_colormap, overlay


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


@pytest.fixture
def heat() -> np.ndarray:
    return np.tile(np.linspace(0, 1, 30, dtype=np.float32), (20, 1))


def test_every_kind_of_image_gives_the_same(picture, heat) -> None:
    expected = np.asarray(overlay(picture, heat)).astype(int)
    assert expected.shape == (20, 30, 3)
    scaled = picture.astype(np.float32) / 255
    for image in (
        Image.fromarray(picture),
        scaled,
        scaled.transpose(2, 0, 1),
        scaled.astype(np.float64),
    ):
        assert np.abs(np.asarray(overlay(image, heat)) - expected).max() <= 1


def test_cold_is_the_image_and_hot_the_colour(picture, heat) -> None:
    drawn = np.asarray(overlay(picture, heat, fade=0, alpha=1))
    np.testing.assert_array_equal(drawn[:, 0], picture[:, 0])
    np.testing.assert_array_equal(drawn[:, -1], np.tile(apply_colormap(heat)[0, -1], (20, 1)))


def test_fade_takes_the_images_colour_not_its_light(picture) -> None:
    drawn = np.asarray(overlay(picture, np.zeros((20, 30)), fade=1)).astype(int)
    assert np.ptp(drawn, axis=2).max() == 0
    luma = picture @ np.array([0.299, 0.587, 0.114])
    assert np.abs(drawn[..., 0] - luma).max() <= 0.51


def test_the_eye_is_drawn_to_the_heat() -> None:
    """On a colourful picture, what is coloured afterwards is where the heat is,
    and the structure stays."""
    ys, xs = np.mgrid[:96, :96]
    heat = np.exp(-((ys - 30) ** 2 + (xs - 60) ** 2) / (2 * 10**2)).astype(np.float32)
    stripes = ((xs // 4 + ys // 4) % 2 * 120 + 60).astype(np.uint8)
    image = np.stack([stripes, stripes // 2, stripes // 3], 2)
    drawn = np.asarray(overlay(image, heat)).astype(float)
    chroma = np.ptp(drawn, axis=2)
    assert chroma[heat > 0.7].mean() > 1.5 * chroma[heat < 0.05].mean()
    grey, before = drawn.mean(2), image.mean(2)
    hot = heat > 0.8
    assert np.corrcoef(grey[hot], before[hot])[0, 1] > 0.6


def test_diverging_shows_both_ends_and_leaves_the_middle(picture) -> None:
    signed = np.full((20, 30), 0.5, np.float32)
    signed[:, :5], signed[:, -5:] = 0, 1
    drawn = np.asarray(overlay(picture, signed, colormap="coolwarm", fade=0))
    np.testing.assert_array_equal(drawn[:, 5:-5], picture[:, 5:-5])
    blue, red = drawn[:, :5].mean((0, 1)), drawn[:, -5:].mean((0, 1))
    assert blue[2] > blue[0]
    assert red[0] > red[2]


def test_uniform_colours_the_cold_too(picture) -> None:
    drawn = overlay(picture, np.zeros((20, 30)), fade=0, uniform=True, colormap="jet")
    assert not np.array_equal(np.asarray(drawn), picture)


@pytest.mark.parametrize("colormap", COLORMAPS)
def test_every_colormap(picture, heat, colormap) -> None:
    assert overlay(picture, heat, colormap=colormap).size == (30, 20)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((1, 20, 30, 3), np.uint8), r"uint8 \[1, 20, 30, 3\]; give .* one at a time"),
        (np.zeros((20, 30, 4), np.uint8), r"\[20, 30, 4\]"),
        (np.zeros((20, 30, 3), np.int64), "int64 .*give uint8, or floats"),
        (np.full((3, 20, 30), -1.5), r"in \[-1.5, -1.5\]; .*undo the network's normalisation"),
        (np.full((3, 20, 30), np.nan), r"in \[nan, nan\]"),
    ],
)
def test_wrong_images(heat, image, message) -> None:
    with pytest.raises(InputError, match=message):
        overlay(image, heat)


def test_wrong_maps_and_options(picture, heat) -> None:
    with pytest.raises(
        InputError, match=r"heatmap is \[7, 7\], the image \[20, 30\].*placement\.to_image"
    ):
        overlay(picture, np.zeros((7, 7)))
    with pytest.raises(InputError, match=r"lies in \[0, 2\]"):
        overlay(picture, heat * 2)
    with pytest.raises(InputError, match=r"alpha is 1\.5; give 0 to 1"):
        overlay(picture, heat, alpha=1.5)
    with pytest.raises(UnknownNameError, match="unknown colormap 'turbos'; did you mean 'turbo'"):
        overlay(picture, heat, colormap="turbos")


def test_grey_images(heat) -> None:
    grey = np.full((20, 30), 0.5)
    assert (
        overlay(grey, heat).size
        == overlay(grey[None], heat).size
        == overlay(grey[..., None], heat).size
    )


def test_arguments_are_left_alone(picture, heat) -> None:
    before = picture.copy(), heat.copy()
    overlay(picture, heat)
    assert np.array_equal(picture, before[0])
    assert np.array_equal(heat, before[1])
