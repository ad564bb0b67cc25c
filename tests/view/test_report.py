"""The HTML report: whole in itself, nothing of a label is markup,
and every map is where its method and target are."""

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from camport.errors import InputError, OutputError, UnknownNameError
from camport.view import Map, Shown, apply_colormap, save_report

NASTY = """<script>alert("1")</script> & 'x' @title@"""


BLACK = np.zeros((4, 4, 3), np.uint8)


class Page(HTMLParser):
    """Tags with their attributes, texts by the innermost tag, and what the page would load."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts, self.addresses, self.open = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.open.append(tag)
        for name, value in attrs:
            if name in ("src", "href"):
                self.addresses.append(value)
            if name == "style":
                self.addresses += re.findall(r"url\((.*?)\)", value)

    def handle_endtag(self, tag):
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data):
        if data.strip() and self.open:
            self.texts.append((self.open[-1], data.strip()))


def decoded(address):
    with Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def heat(column):
    map_ = np.zeros((60, 80), np.float32)
    map_[:, column : column + 20] = 1
    return map_


@pytest.fixture
def page(tmp_path):
    image = np.full((60, 80, 3), 200, np.uint8)
    image[:, :40] = (10, 120, 30)
    maps = [
        Map(heat(0), "gradcam", NASTY, "score 1"),
        Map(heat(40), "layercam", NASTY),
        Map(heat(60), "layercam", "dog"),
    ]
    path = save_report(
        tmp_path / "r.html", [Shown(image, maps, NASTY), Shown(image, maps[2:])], title=NASTY
    )
    return Page(path.read_text(encoding="utf-8"))


def test_labels_are_texts(page):
    assert [text for tag, text in page.texts if tag == "h1"] == [NASTY]
    assert [text for tag, text in page.texts if tag == "h2"] == [NASTY]
    assert [text for tag, text in page.texts if tag == "th"] == [
        "gradcam",
        "layercam",
        NASTY,
        "dog",
        "layercam",
        "dog",
    ]
    assert sum(tag == "script" for tag, _ in page.tags) == 1


def test_it_loads_nothing(page):
    assert page.addresses
    assert all(address.startswith("data:image/jpeg;base64,") for address in page.addresses)


def test_every_map_has_its_place_and_each_picture_is_there_once(page):
    figures = [attrs["aria-label"] for tag, attrs in page.tags if tag == "button"]
    assert figures == [
        f"gradcam, {NASTY}, score 1",
        f"layercam, {NASTY}",
        "layercam, dog",
        "layercam, dog",
    ]
    cells = [attrs["data-method"] for tag, attrs in page.tags if tag == "td"]
    assert cells == ["0", "1", "0", "1", "0"]  # the second image has one method, its only column
    styles = [attrs["style"] for tag, attrs in page.tags if tag == "section"]
    assert len(styles) == 2
    assert np.abs(decoded(styles[0].partition("url(")[2])[30, 10] - (10, 120, 30)).max() < 8


def test_maps_have_their_colours(page):
    maps = [attrs["src"] for tag, attrs in page.tags if tag == "img"]
    expected = apply_colormap(heat(0)).astype(int)
    seen = decoded(maps[0])
    assert seen.shape == expected.shape
    assert np.abs(seen[:, 4:12] - expected[:, 4:12]).max() < 12
    assert np.abs(seen[:, 40:] - expected[:, 40:]).max() < 12


def test_large_pictures_are_made_smaller(tmp_path):
    image = np.random.default_rng(0).integers(0, 255, (1500, 2000, 3), np.uint8)
    path = save_report(tmp_path / "r.html", [Shown(image, [Map(np.ones((1500, 2000)))])])
    assert path.stat().st_size < 400_000
    (style,) = [attrs["style"] for tag, attrs in Page(path.read_text()).tags if tag == "section"]
    assert decoded(style.partition("url(")[2]).shape == (360, 480, 3)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([], "a report of no image"),
        ([Shown(np.zeros((4, 4, 3), np.uint8), [], "x")], "image 'x' has no map"),
        (
            [Shown(np.zeros((4, 4, 3), np.uint8), [Map(np.zeros((5, 4)), "m")])],
            r"the map of m is \[5, 4\], the image \[4, 4\]",
        ),
        (
            [Shown(np.zeros((4, 4, 3), np.uint8), [Map(np.zeros((4, 4)))] * 2)],
            "two maps of one method and one target",
        ),
    ],
)
def test_bad_input_leaves_no_file(tmp_path, images, message):
    with pytest.raises(InputError, match=message):
        save_report(tmp_path / "r.html", images)
    assert not list(tmp_path.iterdir())


def test_other_refusals(tmp_path):
    shown = [Shown(BLACK, [Map(np.zeros((4, 4)))])]
    with pytest.raises(UnknownNameError, match="unknown colormap 'turbot'; did you mean 'turbo'"):
        save_report(tmp_path / "r.html", shown, colormap="turbot")
    with pytest.raises(OutputError):
        save_report(tmp_path / "no" / "r.html", shown)
