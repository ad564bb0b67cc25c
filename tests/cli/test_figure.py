"""The figure of `explain` and `run` says why a map ends where it does."""

import numpy as np
import pytest
from PIL import Image

from camport.cli import figure
from camport.runtime import Placement

CROPPED = Placement((256, 384), (224, 224), (256, 384), (-16, -80))
STRETCHED = Placement((256, 384), (224, 224), (224, 224), (0, 0))


@pytest.mark.parametrize("views", [(), ("map", "overlay")])
def test_what_the_network_saw_is_framed_where_it_was_cropped(tmp_path, views):
    picture = Image.new("RGB", (384, 256), (0, 0, 200))
    found = {"heatmap": np.zeros((1, 224, 224), np.float32)}
    drawn = {}
    for placement in (CROPPED, STRETCHED):
        path = tmp_path / "figure.png"
        asked = ([picture], [placement], [found], "title", ["a legend"], "turbo", 0.6, views)
        figure.write(path, *asked)
        drawn[placement] = np.asarray(Image.open(path))
    cropped, whole = drawn[CROPPED], drawn[STRETCHED]
    assert cropped.shape[0] > whole.shape[0]  # a line more, which says so
    rows, columns = np.nonzero((cropped[: len(whole)] != whole).any(2)[: 16 + 40 + 40 + 256])
    cell, gap, margin = 384, 10, 16
    # the first cell is the picture, unframed; the frame's dark rim lies on the crop's corners
    lefts = [margin + i * (cell + gap) + 80 for i in range(1, 1 + len(views or " "))]
    assert columns.min() == lefts[0]
    assert columns.max() == lefts[-1] + 224
    assert rows.max() - rows.min() == 224
    inner = (columns > lefts[0] + 1) & (columns < lefts[0] + 223)
    assert {*(rows[inner] - rows.min())} == {0, 1, 223, 224}
