"""Preprocess: the JSON, what it does to pixels, and that maps come back to where they were."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from camport.errors import InputError, UnknownNameError
from camport.runtime import Placement, Preprocess

sides = st.integers(40, 400)


def test_json_round_trip() -> None:
    full = Preprocess(
        (224, 192), "letterbox", 256, "bicubic", 1 / 127.5, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), 0
    )
    for preprocess in (full, Preprocess()):
        assert Preprocess.from_json(preprocess.to_json()) == preprocess
    assert Preprocess.from_json("{}") == Preprocess()
    assert Preprocess.from_json('{"std": [1, 2, 3]}').std == (1.0, 2.0, 3.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[1]", "must be an object"),
        ('{"size": 224}', "size is 224; it must be a list of 2 integers or null"),
        ('{"size": [224]}', "a list of 2 integers"),
        ('{"size": [224, 224.5]}', "a list of 2 integers"),
        ('{"size": [0, 224]}', r"size is \[0, 224\]; both sides must be at least 1"),
        ('{"mean": [0, "a", 0]}', "a list of numbers, one a channel"),
        ('{"mean": [0, NaN, 0]}', "not finite"),
        ('{"std": [1, 0, 1]}', "every value must be above 0"),
        ('{"std": null}', "std is None; it must be a list of numbers, one a channel$"),
        ('{"scale": -1}', "scale is -1.0; it must be above 0"),
        ('{"scale": true}', "one number"),
        ('{"pad": 300}', "pad is 300"),
        ('{"fit": "crop"}', "fit 'crop' needs a size"),
        (
            '{"fit": "crop", "size": [224, 320], "resize": 256}',
            r"resize 256 is less than the crop \[224, 320\]",
        ),
    ],
)
def test_bad_values(text, message) -> None:
    with pytest.raises(InputError, match=message):
        Preprocess.from_json(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"sizes": [1, 1]}', "unknown preprocess key 'sizes'; did you mean 'size'"),
        ('{"fit": "strech"}', "unknown fit 'strech'; did you mean 'stretch'"),
        ('{"interpolation": "area"}', "unknown interpolation 'area'; there is: bicubic, bilinear"),
    ],
)
def test_unknown_names(text, message) -> None:
    with pytest.raises(UnknownNameError, match=message):
        Preprocess.from_json(text)


def test_normalises() -> None:
    image = Image.new("RGB", (5, 4), (255, 0, 51))
    pixels, _ = Preprocess(mean=(0.5, 0.5, 0.5), std=(0.5, 0.25, 1.0)).apply(image)
    assert pixels.shape == (3, 4, 5)
    assert pixels.dtype == np.float32
    assert pixels.flags.c_contiguous
    np.testing.assert_allclose(pixels[:, 0, 0], [1, -2, -0.3], atol=1e-6)


def test_letterbox_pads_evenly_with_grey() -> None:
    pixels, placement = Preprocess((64, 64), "letterbox", scale=1.0).apply(
        Image.new("L", (200, 100), 255)
    )
    assert placement == Placement((100, 200), (64, 64), (32, 64), (16, 0))
    assert np.all(pixels[:, :16] == 114)
    assert np.all(pixels[:, 16:48] == 255)
    assert np.all(pixels[:, 48:] == 114)


def test_crop_agrees_with_torchvision() -> None:
    transforms = pytest.importorskip("torchvision.transforms")
    rng = np.random.default_rng(0)
    theirs = transforms.Compose(
        [transforms.Resize(48), transforms.CenterCrop((40, 32)), transforms.ToTensor()]
    )
    for height, width in ((99, 150), (151, 77), (30, 31), (48, 48)):
        image = Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
        pixels, _ = Preprocess((40, 32), "crop", 48).apply(image)
        np.testing.assert_allclose(pixels, theirs(image).numpy(), atol=1e-6)


def test_a_sliver_is_refused_before_it_is_enlarged() -> None:
    with pytest.raises(InputError, match="image of 100000x1 is too narrow to crop"):
        Preprocess((224, 224), "crop").apply(Image.new("RGB", (1, 100000)))


def _centroid(blob: np.ndarray) -> np.ndarray:
    mass = blob.sum(dtype=np.float64)
    ys, xs = np.mgrid[: blob.shape[0], : blob.shape[1]]
    return np.array([(ys * blob).sum() / mass, (xs * blob).sum() / mass])


@settings(max_examples=150, deadline=None)
@given(
    image=st.tuples(sides, sides),
    network=st.tuples(sides, sides),
    fit=st.sampled_from(["stretch", "crop", "letterbox"]),
    at=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_a_blob_comes_back_to_its_place(image, network, fit, at) -> None:
    preprocess = Preprocess(network, fit)
    placement = preprocess.place(image)
    # a Gaussian that is wide enough for both grids,
    # and far enough from the edge of what the network sees
    scale = np.array(placement.resized) / placement.image
    origin = np.array(placement.origin)
    low = (np.maximum(origin, 0) - origin) / scale
    high = (np.minimum(origin + placement.resized, network) - origin) / scale
    sigma = np.minimum((high - low) / 10, np.maximum(1.5 / scale, 1.5) * 1.5)
    if np.any(sigma * np.minimum(scale, 1) < 1):
        return
    centre = low + 4 * sigma + np.array(at) * (high - low - 8 * sigma)
    ys, xs = (np.arange(n) + 0.5 for n in network)
    ys, xs = (ys - origin[0]) / scale[0], (xs - origin[1]) / scale[1]
    blob = np.exp(
        -(((ys - centre[0]) / sigma[0]) ** 2)[:, None] / 2
        - (((xs - centre[1]) / sigma[1]) ** 2) / 2
    )
    back = placement.to_image(blob.astype(np.float32))
    assert back.shape == image
    assert back.dtype == np.float32
    assert back.min() >= 0
    assert back.max() <= 1 + 1e-6
    assert np.abs(_centroid(back) + 0.5 - centre).max() < 0.1


@pytest.mark.parametrize("fit", ["stretch", "crop", "letterbox"])
@pytest.mark.parametrize("size", [(97, 301), (301, 97), (500, 333), (60, 45)])
def test_pixels_and_maps_agree(fit, size) -> None:
    """A blob painted in the image, preprocessed as pixels and brought back as a map,
    has not moved."""
    height, width = size
    ys, xs = np.mgrid[:height, :width]
    centre = (0.45 * height, 0.55 * width)
    sigma = max(3.0, min(size) / 20)
    blob = np.exp(-((ys - centre[0]) ** 2 + (xs - centre[1]) ** 2) / (2 * sigma**2))
    painted = np.rint(255 * blob)
    image = Image.fromarray(np.repeat(painted.astype(np.uint8)[..., None], 3, axis=2))
    pixels, placement = Preprocess((128, 160), fit, pad=0).apply(image)
    back = placement.to_image(pixels[0])
    assert np.abs(_centroid(back) - _centroid(painted)).max() < 0.1


def test_outside_the_crop_is_zero_and_inside_is_whole() -> None:
    placement = Preprocess((64, 64), "crop").place((100, 300))
    back = placement.to_image(np.ones((64, 64), np.float32))
    assert np.array_equal(np.unique(back), [0, 1])
    seen = np.flatnonzero(back[50])
    assert (seen[0], seen[-1]) == (100, 199)


@pytest.mark.parametrize(
    ("placed", "seen"),
    [
        # the middle 224 of 256 x 384, in pixels of an image half as large
        (Placement((128, 192), (224, 224), (256, 384), (-16, -80)), (40, 8, 152, 120)),
        (Placement((128, 192), (224, 224), (224, 224), (0, 0)), None),
        (Placement((128, 192), (224, 224), (149, 224), (37, 0)), None),
        # cropped at the left alone, padded above and below
        (Placement((100, 100), (100, 80), (80, 100), (10, -20)), (20, 0, 100, 100)),
    ],
)
def test_what_the_network_saw(placed, seen) -> None:
    assert placed.seen == (seen if seen is None else pytest.approx(seen))


def test_padding_does_not_bleed_in() -> None:
    placement = Preprocess((64, 64), "letterbox").place((100, 300))
    top, height = placement.origin[0], placement.resized[0]
    heatmap = np.ones((64, 64), np.float32)
    heatmap[top : top + height] = 0
    assert not placement.to_image(heatmap).any()


def test_a_heatmap_of_another_size() -> None:
    placement = Preprocess((64, 64)).place((100, 300))
    with pytest.raises(
        InputError, match=r"heatmap is \[1, 64, 64\].*\[64, 64\].*result\.heatmap\[0\]"
    ):
        placement.to_image(np.zeros((1, 64, 64), np.float32))


@pytest.mark.parametrize("fit", ["stretch", "crop", "letterbox"])
def test_boxes_go_both_ways(fit) -> None:
    placement = Preprocess((64, 96), fit).place((100, 300))
    boxes = np.array([[10, 20, 30, 40], [0, 0, 300, 100]], np.float32)
    there = placement.boxes_to_network(boxes)
    np.testing.assert_allclose(placement.boxes_to_image(there), boxes, atol=1e-4)
    top, left = placement.origin
    np.testing.assert_allclose(
        there[1], [left, top, left + placement.resized[1], top + placement.resized[0]]
    )


def test_json_is_plain() -> None:
    assert json.loads(Preprocess((8, 9)).to_json())["size"] == [8, 9]


@pytest.mark.parametrize("image", [[Image.new("RGB", (4, 4))], "cat.png", b"", None, 3])
def test_what_is_no_picture_is_named(image) -> None:
    with pytest.raises(InputError, match=f"image is {type(image).__name__}; give one picture"):
        Preprocess().apply(image)
