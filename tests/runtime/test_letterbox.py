"""Where a letterbox puts a picture: YOLO packages' rule, at the edge and in the graph alike."""

import numpy as np
import pytest
from PIL import Image

from camport.export.onnx_file import preprocessing
from camport.export.onnx_file.ort import session
from camport.runtime import Preprocess

ODD = {(61, 47): ((64, 64), (0, 7)), (307, 101): ((64, 64), (0, 21)), (47, 61): ((64, 64), (7, 0))}


def published(image: tuple[int, int], size: tuple[int, int], stride: int | None) -> tuple[int, int]:
    """Rows above and columns at the left, as the packages compute them:
    `round(d - 0.1)` of half the rest d."""
    ratio = min(size[0] / image[0], size[1] / image[1])
    rest = [n - round(side * ratio) for n, side in zip(size, image, strict=True)]
    if stride is not None:
        rest = [n % stride for n in rest]
    above, left = (round(n / 2 - 0.1) for n in rest)
    return above, left


@pytest.mark.parametrize("image", ODD)
def test_an_odd_rest_has_its_larger_half_behind(image):
    size, origin = ODD[image]
    assert Preprocess(size, "letterbox").place(image).origin == origin
    assert published(image, size, None) == origin


@pytest.mark.parametrize(
    ("size", "stride"), [((64, 64), None), ((640, 640), 32), ((320, 416), None)]
)
def test_every_picture_lies_where_yolo_packages_put_it(size, stride):
    spec = Preprocess(size, "letterbox", stride=stride)
    for height in range(20, 200, 7):
        for width in range(20, 200, 9):
            assert spec.place((height, width)).origin == published((height, width), size, stride)


def test_the_graph_puts_it_there_too():
    spec = Preprocess((64, 64), "letterbox", scale=1.0, pad=7)
    run = session(preprocessing.preparation(spec).SerializeToString())
    for image in [*ODD, (50, 33), (33, 50)]:
        pixels = np.full((*image, 3), 200, np.uint8)
        (got,) = run.run(None, {"images": pixels[None]})
        expected, placement = spec.apply(Image.fromarray(pixels))
        np.testing.assert_array_equal(got[0], expected)
        top, left = placement.origin
        assert (got[0, 0, top, left], got[0, 0, 32, 32]) == (200, 200)
        assert top == 0 or got[0, 0, top - 1, 32] == 7
        assert left == 0 or got[0, 0, 32, left - 1] == 7
