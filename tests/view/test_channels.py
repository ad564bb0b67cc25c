"""Feature maps as a labelled grid."""

import numpy as np
import pytest
from PIL import Image

from camport.errors import InputError, UnknownNameError
from camport.view import channel_grid, channels, colormap_table

MAPS = np.stack([np.full((4, 4), v, np.float32) for v in (0, 1, 5, 2)])
MAPS[1:, 0, 0] = 0


@pytest.fixture
def seen(monkeypatch):
    """The captions and pictures of the figure that was drawn last."""
    found = {}

    def grid(rows, **options):
        found.update(rows=rows, captions=[cell.caption for row in rows for cell in row], **options)
        return draw(rows, **options)

    draw = channels.grid
    monkeypatch.setattr(channels, "grid", grid)
    return found


def test_the_mean_then_the_strongest_first(seen):
    figure = channel_grid(MAPS)
    wanted = [
        "mean\n0 to 2",
        "channel 2\n0 to 5",
        "channel 3\n0 to 2",
        "channel 1\n0 to 1",
        "channel 0\nall 0",
    ]
    assert seen["captions"] == wanted
    assert seen["title"] == "all 4 channels"
    assert len(seen["rows"]) == 3
    assert figure.width > 2 * channels.CELL
    hot = tuple(colormap_table("viridis")[255])
    assert hot in {tuple(pixel) for row in np.asarray(figure) for pixel in row}


def test_how_many_and_which(seen):
    channel_grid(MAPS, limit=2, title="Features at layer2", columns=3)
    assert seen["title"] == "Features at layer2: the 2 strongest of 4 channels"
    assert len(seen["rows"]) == 1
    channel_grid(MAPS, channels=[3, 0])
    assert [text.split("\n")[0] for text in seen["captions"]] == ["mean", "channel 3", "channel 0"]
    assert seen["title"] == "2 of 4 channels"


def test_the_image_comes_first(seen):
    channel_grid(MAPS, Image.new("RGB", (8, 6), "red"), limit=1)
    assert seen["captions"] == ["image", "mean\n0 to 2", "channel 2\n0 to 5"]


def test_negative_values_are_drawn_around_a_middle(seen):
    maps = MAPS.copy()
    maps[2] *= -1
    channel_grid(maps, limit=1)
    assert seen["captions"][1] == "channel 2\n\u00b15"
    colours = {tuple(pixel) for row in np.asarray(seen["rows"][1][0].image) for pixel in row}
    table = colormap_table("coolwarm")
    assert colours == {tuple(table[0]), tuple(table[128])}


@pytest.mark.parametrize(
    ("error", "match", "maps", "options"),
    [
        (
            InputError,
            r"feature maps are float32 \[4, 4\]; give those of one image, \[c,h,w\]",
            MAPS[0],
            {},
        ),
        (InputError, r"feature maps are float32 \[0, 4, 4\]", MAPS[:0], {}),
        (InputError, r"feature maps have 64 values that are not finite", MAPS + np.inf, {}),
        (
            InputError,
            r"channel 4 is out of range: there are 4 \(0..3\)",
            MAPS,
            {"channels": [1, 4]},
        ),
        (InputError, r"limit is 0 and columns None; give 1 or more", MAPS, {"limit": 0}),
        (
            UnknownNameError,
            r"unknown colormap 'viridi'; did you mean 'viridis'",
            MAPS,
            {"colormap": "viridi"},
        ),
    ],
)
def test_bad_feature_maps(error, match, maps, options):
    with pytest.raises(error, match=match):
        channel_grid(maps, **options)
