"""The picture of what was found: all boxes, then a cell for each of them."""

import numpy as np
from PIL import Image

from camport.view import Box, Cell, grid, overlay
from camport.view.found import COLOURS, Found, found_grid, said

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8))
MAPS = np.random.default_rng(1).random((2, 40, 60)).astype(np.float32)
ONE = Found(
    np.array([[5.0, 6, 20, 30], [30, 3, 50, 35]]),
    np.array([1, 7]),
    np.array([0.954, 0.5]),
    list(MAPS),
)


def test_each_has_its_map_its_box_and_its_words():
    boxes = [(5.0, 6.0, 20.0, 30.0), (30.0, 3.0, 50.0, 35.0)]
    words = ["four 0.95", "class 7 0.50"]
    first = Cell(
        PICTURE, "2 detections", [Box(*one) for one in zip(boxes, words, COLOURS, strict=False)]
    )
    rest = [
        Cell(
            overlay(PICTURE, MAPS[i], alpha=0.5, colormap="jet"),
            words[i],
            [Box(boxes[i], "", COLOURS[i])],
        )
        for i in (0, 1)
    ]
    wanted = grid([[first, *rest]], title="why", colorbar="jet")
    found = found_grid([PICTURE], [ONE], ("three", "four"), title="why", colormap="jet", alpha=0.5)
    np.testing.assert_array_equal(np.asarray(found), np.asarray(wanted))
    assert [said(ONE, i, None) for i in (0, 1)] == ["class 1 0.95", "class 7 0.50"]
