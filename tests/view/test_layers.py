"""One image at many layers."""

import numpy as np
import pytest
from PIL import Image

from camport.errors import InputError, UnknownNameError
from camport.view import layer_grid, layers
from camport.view.text import text_width

IMAGE = Image.new("RGB", (40, 30), "navy")
HOT = np.tile(np.linspace(0, 1, 40, dtype=np.float32), (30, 1))


@pytest.fixture
def seen(monkeypatch):
    """The captions of the figure that was drawn last."""
    found = {}

    def grid(rows, **options):
        found.update(captions=[[cell.caption for cell in row] for row in rows], **options)
        return draw(rows, **options)

    draw = layers.grid
    monkeypatch.setattr(layers, "grid", grid)
    return found


def test_the_image_then_the_layers_in_their_order(seen):
    figure = layer_grid(
        IMAGE,
        {"conv1": HOT, "layer1": HOT * 0},
        captions={"layer1": "64 x 8 x 8, flat"},
        title="All",
    )
    assert seen["captions"] == [["image", "conv1", "layer1\n64 x 8 x 8, flat"]]
    assert (seen["title"], seen["colorbar"]) == ("All", "turbo")
    pixels = np.asarray(figure).reshape(-1, 3)
    assert ((pixels[:, 0] > 100) & (pixels[:, 2] < 60)).any()  # the hot end


def test_many_layers_fill_rows(seen):
    layer_grid(IMAGE, {f"layer{i}": HOT for i in range(99)})
    assert [len(row) for row in seen["captions"]] == [10] * 10
    layer_grid(IMAGE, {f"layer{i}": HOT for i in range(8)})
    assert [len(row) for row in seen["captions"]] == [6, 3]
    layer_grid(IMAGE, {f"layer{i}": HOT for i in range(8)}, columns=2)
    assert [len(row) for row in seen["captions"]] == [2, 2, 2, 2, 1]


def test_long_names_are_broken_behind_their_dots(seen):
    name = "backbone.encoder.stages.3.blocks.11.attention.projection"
    layer_grid(IMAGE, {name: HOT})
    lines = seen["captions"][0][1].split("\n")
    assert "".join(lines) == name
    assert len(lines) > 1
    assert all(line.endswith(".") for line in lines[:-1])
    assert all(text_width(line, layers.TEXT) <= layers.CELL for line in lines)


def test_bad_maps():
    with pytest.raises(InputError, match=r"no map of any layer to show"):
        layer_grid(IMAGE, {})
    with pytest.raises(InputError, match=r"heatmap is \[30, 39\], the image \[30, 40\]"):
        layer_grid(IMAGE, {"a": HOT[:, :-1]})
    with pytest.raises(UnknownNameError, match=r"unknown colormap 'turb'"):
        layer_grid(IMAGE, {"a": HOT}, colormap="turb")
