"""Figures: where cells lie, how large they are, and that text fits."""

import numpy as np
import pytest
from PIL import Image

from camport.errors import InputError, UnknownNameError
from camport.view import Box, Cell, draw_boxes, grid
from camport.view.grid import enlarge
from camport.view.text import line_height, text_width, wrap

RED, BLUE = Image.new("RGB", (100, 80), "red"), Image.new("RGB", (100, 80), "blue")


def _area(figure: Image.Image, colour: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """left, top, right, bottom of what has this colour."""
    ys, xs = np.nonzero(np.all(np.asarray(figure) == colour, axis=2))
    return xs.min(), ys.min(), xs.max() + 1, ys.max() + 1


def test_small_pictures_fill_a_cell_of_256() -> None:
    figure = grid([[RED, BLUE]])
    left, top, right, bottom = _area(figure, (255, 0, 0))
    assert (right - left, bottom - top) == (256, 205)
    assert _area(figure, (0, 0, 255))[0] > right


def test_rows_columns_and_holes() -> None:
    figure = grid([[RED, None], [None, BLUE]])
    red, blue = _area(figure, (255, 0, 0)), _area(figure, (0, 0, 255))
    assert blue[0] > red[2]
    assert blue[1] > red[3]


def test_large_pictures_are_bounded_and_cell_is_obeyed() -> None:
    big = Image.new("RGB", (4000, 3000), "red")
    assert _area(grid([[big]]), (255, 0, 0))[2] - 16 == 640
    assert _area(grid([[big]], cell=300), (255, 0, 0))[2] - 16 == 300


def test_text_makes_room_for_itself() -> None:
    bare = grid([[RED, BLUE]])
    full = grid(
        [[Cell(RED, "a caption"), BLUE]],
        title="Title",
        columns=["original", "Grad-CAM"],
        row_labels=["cat"],
    )
    assert full.width > bare.width
    assert full.height > bare.height + 40
    red = _area(full, (255, 0, 0))
    above = np.asarray(full.convert("L"))[: red[1]]
    assert (above < 100).sum() > 100
    assert (np.asarray(full.convert("L"))[:, : red[0]] < 100).any()


def test_text_is_as_large_as_it_is_wanted() -> None:
    """A caption's line is as high as its size, and longer captions take more lines."""
    lines = [
        grid([[Cell(RED, "word")]], cell=256, text=size).height - grid([[RED]], cell=256).height
        for size in (20, 41)
    ]
    assert lines == [line_height(19), line_height(40)]
    with pytest.raises(InputError, match="text is 300; give 6 to 256 pixels"):
        grid([[RED]], cell=256, text=300)


def test_proportions_are_kept_and_centred() -> None:
    figure = grid([[Image.new("RGB", (100, 100), "blue"), Image.new("RGB", (200, 50), "red")]])
    left, top, right, bottom = _area(figure, (255, 0, 0))
    assert (right - left, bottom - top) == (256, 64)
    blue = _area(figure, (0, 0, 255))
    assert top - blue[1] == blue[3] - bottom


def test_arrays_and_bare_pictures_are_cells() -> None:
    assert grid([[np.zeros((3, 8, 8), np.float32), np.zeros((8, 8, 3), np.uint8)]]).size[0] > 512


def test_tiny_pictures_keep_their_pixels() -> None:
    squares = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8))
    assert np.array_equal(
        np.asarray(enlarge(squares, 256, 256))[16::32, 16::32], np.asarray(squares)
    )
    ramp = Image.linear_gradient("L").convert("RGB").resize((100, 100))
    steps = np.diff(np.asarray(enlarge(ramp, 400, 400)).astype(int)[:, 0, 0])
    assert steps.max() <= 2


def test_boxes_are_drawn_where_they_lie() -> None:
    figure = grid(
        [
            [
                Cell(
                    Image.new("RGB", (512, 512), "black"),
                    boxes=[Box((128, 256, 384, 448), "cat", "lime")],
                )
            ]
        ]
    )
    left, top, right, bottom = _area(figure, (0, 255, 0))
    assert abs(left - (16 + 128)) <= 2
    assert abs(right - (16 + 384)) <= 2
    assert abs(bottom - (16 + 448)) <= 2
    assert top < 16 + 256  # the label's tab


def test_boxes_beyond_the_picture_are_cut() -> None:
    picture = Image.new("RGB", (64, 64))
    draw_boxes(
        picture,
        [Box((-50, -50, 500, 500), "a label that is much too long for it"), Box((70, 70, 80, 80))],
    )
    assert picture.size == (64, 64)


@pytest.mark.parametrize("xyxy", [(10, 0, 5, 5), (0, 0, float("nan"), 5), (0, 0, float("inf"), 5)])
def test_wrong_boxes(xyxy) -> None:
    with pytest.raises(InputError, match="give left, top, right, bottom"):
        Box(xyxy)


def test_wrong_colour() -> None:
    with pytest.raises(InputError, match="box colour is 'lime green'"):
        Box((0, 0, 1, 1), colour="lime green")


def test_colour_bar() -> None:
    figure = grid([[RED]], colorbar="viridis")
    assert (np.asarray(figure) == (68, 1, 84)).all(2).any()
    assert grid([[RED]], colorbar="coolwarm").height > grid([[RED]]).height
    with pytest.raises(UnknownNameError, match="unknown colormap 'virdis'"):
        grid([[RED]], colorbar="virdis")


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        ([], {}, "0 rows and no picture"),
        ([[None]], {}, "1 rows and no picture"),
        ([[RED]], {"columns": ["a", "b"]}, "columns has 2 texts for 1"),
        ([[RED]], {"row_labels": ["a", "b"]}, "row_labels has 2 texts for 1"),
        ([[RED]], {"cell": 4}, "cell is 4"),
        ([[np.zeros((2, 2, 7))]], {}, r"image is float64 \[2, 2, 7\]"),
    ],
)
def test_wrong_figures(rows, options, message) -> None:
    with pytest.raises(InputError, match=message):
        grid(rows, **options)


def test_wrapping() -> None:
    lines = wrap("a caption of quite some words that needs several lines " * 3, 14, 120)
    assert len(lines) == 3
    assert lines[-1].endswith("...")
    assert all(text_width(line, 14) <= 120 for line in lines)
    assert wrap("", 14, 120) == []
    assert wrap("one\ntwo", 14, 120) == ["one", "two"]
    assert text_width(wrap("x" * 200, 14, 120)[0], 14) <= 120


def test_what_the_network_saw_is_framed() -> None:
    """A white line of one pixel with a dark rim, and a line of text under the figure."""
    plain = grid([[Cell(RED)]], cell=256)
    framed = grid([[Cell(RED, seen=(20, 20, 60, 60))]], cell=256)
    assert framed.height > plain.height + 10
    left, top, right, bottom = _area(plain, (255, 0, 0))
    drawn = np.asarray(framed)[top:bottom, left:right]
    white = np.argwhere((drawn == 255).all(2))
    corners = np.array([*white.min(0), *white.max(0)]) / 2.56
    assert np.abs(corners - [20, 20, 60, 60]).max() < 1
    assert (drawn[100] == 255).all(1).sum() == 2
    assert (drawn[100, 100] == (255, 0, 0)).all()
