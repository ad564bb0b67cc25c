"""A place in the user's image goes into the network's frame and comes back,
in maps and in boxes."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

from camport.core.maps.geometry import Frame
from camport.runtime import Preprocess


def frame_of(preprocess: Preprocess, size: tuple[int, int]) -> Frame:
    placed = preprocess.place(size)
    return Frame(placed.image, placed.network, placed.resized, placed.origin)


def blob(size: tuple[int, int], x: float, y: float, sigma: float) -> torch.Tensor:
    """A Gaussian at (x, y), pixel centres at half places."""
    rows, columns = torch.arange(size[0]) + 0.5, torch.arange(size[1]) + 0.5
    squares = (rows[:, None] - y) ** 2 + (columns[None] - x) ** 2
    return (-squares.double() / (2 * sigma**2)).exp()


def centroid(maps: torch.Tensor) -> tuple[float, float]:
    rows, columns = torch.arange(maps.shape[0]) + 0.5, torch.arange(maps.shape[1]) + 0.5
    total = maps.sum()
    return float((maps.sum(0) * columns).sum() / total), float((maps.sum(1) * rows).sum() / total)


KINDS = {
    "square letterbox": Preprocess(size=(320, 320), fit="letterbox"),
    "rectangular letterbox": Preprocess(size=(320, 320), fit="letterbox", stride=32),
    "stretch": Preprocess(size=(256, 320)),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(12))
def test_a_blob_comes_back_to_its_place(kind, seed):
    generator = np.random.default_rng([seed, len(kind)])
    size = tuple(int(v) for v in generator.integers(120, 900, 2))
    frame = frame_of(KINDS[kind], size)
    scale = min(r / i for r, i in zip(frame.resized, frame.image, strict=True))
    sigma = max(0.03 * min(size), 2.5 / scale)
    y, x = (
        float(generator.uniform(5 * sigma, n - 5 * sigma)) if n > 11 * sigma else n / 2
        for n in size
    )
    # drawn in the frame by its own equation: each axis has its scale
    top, left = frame.origin
    factors = [r / i for r, i in zip(frame.resized, frame.image, strict=True)]
    rows = (torch.arange(frame.network[0]) + 0.5 - top) / factors[0]
    columns = (torch.arange(frame.network[1]) + 0.5 - left) / factors[1]
    drawn = (-((rows[:, None] - y) ** 2 + (columns[None] - x) ** 2).double() / (2 * sigma**2)).exp()
    found = frame.to_image(drawn[None])[0]
    assert found.shape == size
    truth = centroid(blob(size, x, y, sigma))
    assert math.dist(centroid(found), truth) < 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_a_patch_of_a_picture_is_where_the_frame_says(kind):
    """The frame's picture itself, as the network gets it."""
    picture = np.zeros((240, 390, 3), np.uint8)
    picture[60:100, 200:260] = 255
    pixels, placement = KINDS[kind].apply(Image.fromarray(picture))
    frame = frame_of(KINDS[kind], (240, 390))
    assert pixels.shape[1:] == frame.network
    box = frame.to_network(torch.tensor([[200.0, 60.0, 260.0, 100.0]]))
    np.testing.assert_allclose(
        box, placement.boxes_to_network(np.array([[200.0, 60, 260, 100]])), rtol=1e-6
    )
    inside = pixels[0] > 0.7
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    left, top, right, bottom = box[0].tolist()
    assert abs(columns[0] - left) <= 1
    assert abs(columns[-1] + 1 - right) <= 1
    assert abs(rows[0] - top) <= 1
    assert abs(rows[-1] + 1 - bottom) <= 1


def test_centre_crop():
    """What was cut off continues the border; what was seen lies where it was."""
    frame = frame_of(Preprocess(size=(100, 100), fit="crop", resize=120), (200, 400))
    assert frame.origin == (-10, -70)
    maps = torch.zeros(1, 100, 100, dtype=torch.float64)
    maps[0, 45:55, 20:30] = 1
    found = frame.to_image(maps)[0]
    x, y = centroid(found)
    assert (x, y) == pytest.approx(((25 + 70) / 0.6, (50 + 10) / 0.6), abs=0.1)


def test_boxes_go_and_come_back():
    frame = Frame((333, 517), (640, 640), (412, 640), (114, 0))
    boxes = torch.rand(7, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 300
    torch.testing.assert_close(frame.boxes_to_image(frame.to_network(boxes)), boxes)


def test_a_rectangular_letterbox_is_padded_to_the_stride_alone():
    preprocess = Preprocess(size=(640, 640), fit="letterbox", stride=32)
    assert preprocess.place((720, 1280)).network == (384, 640)
    assert preprocess.place((720, 1280)).resized == (360, 640)
    assert preprocess.place((500, 500)).network == (640, 640)
    assert Preprocess.from_json(preprocess.to_json()) == preprocess
