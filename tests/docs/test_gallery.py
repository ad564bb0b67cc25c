"""docs/gallery.md is what its maker writes out of today's tables,
with a picture of every method."""

import re
import runpy
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_is_of_todays_tables():
    maker = runpy.run_path(str(DOCS / "make_gallery.py"))
    assert (DOCS / "gallery.md").read_text(encoding="utf-8") == maker["page"](), (
        "run: python docs/make_gallery.py none"
    )


def test_every_method_has_its_picture():
    page = (DOCS / "gallery.md").read_text(encoding="utf-8")
    pictures = re.findall(r"\(images/gallery/(.*?)\)", page)
    assert len(pictures) == page.count("### ")
    assert sorted(pictures) == sorted(path.name for path in (DOCS / "images/gallery").iterdir())


def test_most_have_their_figures():
    page = (DOCS / "gallery.md").read_text(encoding="utf-8")
    assert page.count("cost ") > 25
    assert page.count("points at the digit") > 30
    assert page.count("without weights") > 30
