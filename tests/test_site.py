"""The site of the documentation: every page is in it, it builds without a warning,
and it asks no other address."""

import re
import subprocess
import tomllib
import venv
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def navigation() -> set[str]:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    return set(re.findall(r"^ +- ([\w/.-]+\.md)$", text[text.index("\nnav:") :], re.MULTILINE))


def test_every_page_is_in_the_navigation():
    pages = {path.name for path in (ROOT / "docs").glob("*.md")}
    pages |= {f"benchmarks/{path.name}" for path in (ROOT / "benchmarks").glob("*.md")}
    pages |= {
        f"examples/{p.stem}.md"
        for p in (ROOT / "examples").iterdir()
        if not p.name.startswith(("_", ".")) and p.suffix in ("", ".py")
    }
    assert sorted(pages - navigation()) == []


class Loaded(HTMLParser):
    """What a page loads of other addresses by itself: scripts, pictures, styles;
    not what its links lead to."""

    def __init__(self) -> None:
        super().__init__()
        self.outside: list[str] = []

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if tag != "a" and name in ("src", "href") and re.match(r"(https?:)?//", value or ""):
                self.outside.append(value)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The site, built by what the extra `docs` installs, in an environment of its own."""
    place = tmp_path_factory.mktemp("site")
    venv.create(place / "env", with_pip=True)
    extra = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]["docs"]
    subprocess.run([place / "env/bin/pip", "install", "-q", *extra], check=True)
    subprocess.run(
        [place / "env/bin/mkdocs", "build", "--strict", "-q", "-d", place / "site"],
        check=True,
        cwd=ROOT,
    )
    return place / "site"


@pytest.mark.everything
def test_pages_are_whole(site):
    page = (site / "methods.html").read_text(encoding="utf-8")
    assert page.count("<math") > 30
    assert 'href="#grad-cam_1"' in page  # Grad-CAM++, whose anchor GitHub calls grad-cam-1
    assert 'id="grad-cam_1"' in page
    assert 'href="benchmarks/SANITY.html"' in page
    assert "camport.core.explainer.Explainer.saliency" in (
        site / "reference/camport.html"
    ).read_text(encoding="utf-8")
    assert "class MaxCAM" in re.sub(
        "<[^>]+>", "", (site / "examples/camport-maxcam.html").read_text(encoding="utf-8")
    )


@pytest.mark.everything
def test_nothing_is_loaded_from_elsewhere(site):
    outside = {}
    for path in site.rglob("*.html"):
        page = Loaded()
        page.feed(path.read_text(encoding="utf-8"))
        if page.outside:
            outside[path.relative_to(site).as_posix()] = page.outside
    assert outside == {}
