"""`Preprocess.apply` takes the arrays that Pillow and cv2 give, uint8 [h,w,c],
and those of networks, [c,H,W]."""

import numpy as np
import pytest
from PIL import Image

from camport.errors import InputError
from camport.runtime import Preprocess

STATED = Preprocess(size=(12, 10), fit="letterbox", mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 0.125))
"""Not square, and each channel another number, so that axes and channels in another order show."""


def picture(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def test_an_array_of_a_picture_is_that_picture():
    array = picture(20, 31, 3)
    wanted, there = STATED.apply(Image.fromarray(array))
    found, placement = STATED.apply(array)
    np.testing.assert_array_equal(found, wanted)
    assert placement == there
    assert placement.image == (20, 31)


def test_each_channel_has_its_own_mean():
    """By hand, without resizing."""
    array = picture(4, 5, 3)
    found, _ = Preprocess(mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 0.125)).apply(array)
    wanted = (array / 255 - [0.1, 0.2, 0.3]) / [0.5, 0.25, 0.125]
    np.testing.assert_allclose(found, wanted.transpose(2, 0, 1), rtol=1e-5, atol=1e-6)


def test_one_image_of_a_batch_and_one_channel():
    array = picture(1, 20, 31, 3)
    np.testing.assert_array_equal(STATED.apply(array)[0], STATED.apply(array[0])[0])
    grey = picture(6, 7, 1)
    found, _ = Preprocess(mean=(0.0,), std=(1.0,)).apply(grey)
    np.testing.assert_allclose(found[0], grey[..., 0] / 255, rtol=1e-6)


def test_the_first_axis_goes_before_the_last():
    """[3,h,3] stays channels first, as it always was."""
    array = picture(3, 6, 3)
    found, placement = Preprocess().apply(array)
    np.testing.assert_allclose(found, array / 255, rtol=1e-6)
    assert placement.image == (6, 3)


def test_for_a_file_that_prepares_pictures_itself_the_bytes_stay():
    array = picture(20, 31, 3)
    found, placement = Preprocess(size=(8, 8), in_graph=True).apply(array)
    np.testing.assert_array_equal(found, array)
    assert placement.image == (20, 31)


@pytest.mark.parametrize("array", [picture(6, 7, 4), picture(6, 7, 3).astype(np.float32)])
def test_other_channels_and_other_numbers_are_refused(array):
    with pytest.raises(
        InputError,
        match=r"the image is \[6, 7, \d\], channels first, and the network takes 3 channels",
    ):
        Preprocess().apply(array)
