"""Pictures of signed images."""

import numpy as np
import pytest

from camport.errors import InputError, UnknownNameError
from camport.view import GRADIENT_VIEWS, gradient_picture

SIGNED = np.zeros((3, 2, 4), np.float32)
SIGNED[0, 0, 0], SIGNED[1, 0, 1], SIGNED[:, 1, 3] = 2, -2, 1


def drawn(view, gradient=SIGNED, percentile=100):
    return np.asarray(gradient_picture(gradient, view, percentile=percentile)).astype(int)


def test_colour_has_nothing_in_the_middle():
    picture = drawn("colour")
    assert picture.shape == (2, 4, 3)
    assert picture[1, 0].tolist() == [128, 128, 128]
    assert picture[0, 0].tolist() == [255, 128, 128]
    assert picture[0, 1].tolist() == [128, 0, 128]
    assert 191 <= picture[1, 3, 0] <= 193


def test_grey_is_the_magnitude():
    picture = drawn("grey")
    assert (picture == picture[..., :1]).all()
    assert picture[0, :2, 0].tolist() == [170, 170]
    assert picture[1, 3, 0] == 255
    assert picture[1, 0, 0] == 0


def test_positive_and_negative_are_on_one_scale_and_make_up_the_whole():
    positive, negative = drawn("positive"), drawn("negative")
    assert positive[0, 0].tolist() == [255, 0, 0]
    assert negative[0, 1].tolist() == [0, 255, 0]
    assert not (positive.astype(bool) & negative.astype(bool)).any()
    assert np.array_equal(drawn("positive", -SIGNED), negative)
    assert np.array_equal(
        positive.astype(bool) | negative.astype(bool), SIGNED.transpose(1, 2, 0) != 0
    )


def test_a_few_extremes_do_not_darken_the_rest():
    gradient = np.random.default_rng(0).normal(size=(3, 40, 40)).astype(np.float32)
    gradient[0, 0, 0] = 1e6
    assert np.asarray(gradient_picture(gradient, "positive")).mean() > 10
    assert drawn("positive", gradient).mean() < 0.1


def test_the_scale_of_a_gradient_does_not_matter_and_zero_is_drawn():
    for view in GRADIENT_VIEWS:
        assert np.array_equal(drawn(view), drawn(view, SIGNED.astype(np.float64) * 1e-30))
    assert (drawn("colour", SIGNED * 0) == 128).all()
    assert (drawn("grey", SIGNED * 0) == 0).all()


def test_one_channel_is_grey():
    picture = drawn("positive", SIGNED[:1])
    assert (picture == picture[..., :1]).all()
    assert picture[0, 0, 0] == 255


@pytest.mark.parametrize(
    ("error", "match", "arguments"),
    [
        (UnknownNameError, r"unknown view 'color'; did you mean 'colour'", (SIGNED, "color")),
        (
            InputError,
            r"gradient is float32 \[4, 2, 4\]; give the signed image",
            (np.zeros((4, 2, 4), np.float32),),
        ),
        (InputError, r"gradient is float32 \[2, 4\]", (SIGNED[0],)),
        (InputError, r"gradient is int64 \[3, 2, 4\]", (SIGNED.astype(np.int64),)),
        (InputError, r"gradient has 24 values that are not finite", (SIGNED * np.nan,)),
    ],
)
def test_bad_gradients(error, match, arguments):
    with pytest.raises(error, match=match):
        gradient_picture(*arguments)


@pytest.mark.parametrize("percentile", [0, -1, 101])
def test_bad_percentiles(percentile):
    with pytest.raises(InputError, match=f"percentile is {percentile}; give more than 0"):
        gradient_picture(SIGNED, percentile=percentile)
