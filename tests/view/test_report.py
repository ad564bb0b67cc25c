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
from camport.view import Box, Map, Shown, apply_colormap, colormap_table, overlay, save_report
from camport.view.seen import NOTE
from camport.view.shown import titled

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


def decoded(address, mode="RGB"):
    with Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))) as picture:
        return np.asarray(picture.convert("RGBA").convert(mode)).astype(int)


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
        "gradcam",
        "layercam",
        "dog",
    ]
    assert sum(tag == "script" for tag, _ in page.tags) == 1


def test_it_loads_nothing(page):
    assert page.addresses
    kinds = {address.partition(",")[0] for address in page.addresses}
    assert kinds == {"data:image/jpeg;base64", "data:image/png;base64"}


def test_every_map_has_its_place_and_each_picture_is_there_once(page):
    figures = [attrs["aria-label"] for tag, attrs in page.tags if tag == "button"]
    assert figures == [
        f"gradcam, {NASTY}, score 1",
        f"layercam, {NASTY}",
        "layercam, dog",
        "layercam, dog",
    ]
    cells = [attrs["data-method"] for tag, attrs in page.tags if tag == "td" and attrs]
    assert cells == ["0", "1"] * 3  # the second image has one method, in that method's column
    styles = [attrs["style"] for tag, attrs in page.tags if tag == "section"]
    assert len(styles) == 2
    assert np.abs(decoded(styles[0].partition("url(")[2])[30, 10] - (10, 120, 30)).max() < 8


def test_maps_have_their_colours(page):
    maps = [attrs["src"] for tag, attrs in page.tags if tag == "img"]
    np.testing.assert_array_equal(decoded(maps[0]), apply_colormap(heat(0)))


@pytest.mark.parametrize("colormap", ["turbo", "coolwarm"])
def test_it_is_laid_over_the_image_as_the_picture_is(tmp_path, colormap):
    """What the network never saw has no colour, and neither has what is cold."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)
    cold = 0.5 if colormap == "coolwarm" else 0
    heatmap = np.full((40, 50), cold, np.float32)
    heatmap[5:35, 10:40] = rng.random((30, 30))
    shown = [Shown(image, [Map(heatmap)])]
    path = save_report(tmp_path / "r.html", shown, colormap=colormap, alpha=0.7)
    page = Page(path.read_text(encoding="utf-8"))
    (source,) = [attrs["src"] for tag, attrs in page.tags if tag == "img"]
    *colours, opacity = np.moveaxis(decoded(source, "RGBA"), 2, 0)
    assert not opacity[heatmap == cold].any()
    weight = 0.7 * opacity[..., None] / 255
    composed = image + (np.stack(colours, 2) - image) * weight
    picture = overlay(image, heatmap, alpha=0.7, colormap=colormap, fade=0)
    assert np.abs(composed - np.asarray(picture)).max() < 5
    assert "--map: 0.7;" in path.read_text(encoding="utf-8")


def test_scale_frame_and_marks(tmp_path):
    box = Box((40, 30, 80, 60), "cat & dog", "lime")
    shown = Shown(
        np.zeros((60, 80, 3), np.uint8), [Map(heat(0), marks=[box])], seen=(20, 0, 80, 45)
    )
    text = save_report(tmp_path / "r.html", [shown]).read_text(encoding="utf-8")
    places = [attrs for tag, attrs in Page(text).tags if tag == "i" and attrs]
    assert [(one["class"], one["style"]) for one in places] == [
        ("seen", "left: 25.00%; top: 0.00%; width: 75.00%; height: 75.00%"),
        ("mark", "--colour: #00ff00; left: 50.00%; top: 50.00%; width: 50.00%; height: 50.00%"),
    ]
    assert ("b", "cat & dog") in Page(text).texts
    assert f"<p>{NOTE}</p>" in text
    scale = re.findall(r"#[0-9a-f]{6}", re.search(r"linear-gradient\((.*)\)", text)[1])
    assert [scale[0], scale[8], scale[-1]] == [
        "#" + bytes(colormap_table("turbo")[at]).hex() for at in (0, 128, 255)
    ]
    assert [text for tag, text in Page(text).texts if tag == "span"] == ["cold 0", "hot 1"]
    whole = save_report(tmp_path / "w.html", [Shown(BLACK, [Map(np.zeros((4, 4)))])])
    assert NOTE not in whole.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("methods", "layers", "title"),
    [
        (["Grad-CAM", "LayerCAM"], [["bn2"], ["bn2"]], "Grad-CAM, LayerCAM of net at bn2"),
        (["Grad-CAM", "RISE"], [("a", "b"), ()], "Grad-CAM at a, b, RISE of net"),
        (["RISE"], [()], "RISE of net"),
        (list("abcdef"), [["bn2"]] * 6, "6 methods of net at bn2"),
    ],
)
def test_titles(methods, layers, title):
    assert titled(methods, layers, "net") == title


def test_large_pictures_are_made_smaller(tmp_path):
    image = np.random.default_rng(0).integers(0, 255, (1500, 2000, 3), np.uint8)
    path = save_report(tmp_path / "r.html", [Shown(image, [Map(np.ones((1500, 2000)))])])
    assert path.stat().st_size < 400_000
    (style,) = [attrs["style"] for tag, attrs in Page(path.read_text()).tags if tag == "section"]
    assert decoded(style.partition("url(")[2]).shape == (480, 640, 3)


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
    with pytest.raises(InputError, match=r"alpha is 1\.5; give 0 to 1"):
        save_report(tmp_path / "r.html", shown, alpha=1.5)
    with pytest.raises(OutputError):
        save_report(tmp_path / "no" / "r.html", shown)
