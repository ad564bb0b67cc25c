"""The report in Chromium: slider and keys work, columns stand in line, on a phone one under the
other."""

import numpy as np
import pytest

from camport.view import Map, Shown, save_report
from tests.web.driver import browsing

pytestmark = pytest.mark.everything

ENTER, ESCAPE = "\ue007", "\ue00c"
LEFT = """
return [...document.querySelectorAll("section figure")].map((one) => {
  const { left, right, top } = one.getBoundingClientRect();
  return [left, right, top].map(Math.round);
});
"""
INSIDE = """
const boxes = [document.documentElement, ...document.querySelectorAll(".wide")];
return boxes.every(({ scrollWidth, clientWidth }) => scrollWidth <= clientWidth);
"""
OPACITY = "return Number(getComputedStyle(document.querySelector('.view img')).opacity)"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    site = tmp_path_factory.mktemp("report")
    rng = np.random.default_rng(0)

    def shown(target, methods):
        image = rng.integers(0, 256, (60, 90, 3), dtype=np.uint8)
        maps = [Map(rng.random((60, 90), np.float32), method, target) for method in methods]
        return Shown(image, maps, target, (15, 0, 75, 60))

    images = [shown("cat", "AB"), shown("a much longer label than that", "AB"), shown("dog", "B")]
    save_report(site / "r.html", images, alpha=0.6)
    save_report(site / "one.html", [shown("cat", "A"), shown("dog", "A")])
    with browsing(site) as opened:
        opened.resize(1200, 900)
        opened.send("url", url=f"{opened.address}/r.html")
        yield opened


def test_columns_stand_in_line_and_fill_the_page(browser):
    places = browser.run(LEFT)
    assert len({(left, right) for left, right, _ in places}) == 2
    assert places[4][:2] == places[1][:2]  # the third image has no map by the first method
    assert all(right - left > 480 for left, right, _ in places)
    assert browser.run(INSIDE)
    browser.run("document.querySelector('input[value=\"0\"]').click()")
    assert [right for _, right, _ in browser.run(LEFT)].count(0) == 2
    browser.run("document.querySelector('input[value=\"0\"]').click()")


def test_slider_and_keys(browser):
    assert browser.run(OPACITY) == 0.6
    browser.press("m")
    assert browser.run(OPACITY) == 0
    browser.press("m")
    assert browser.run(OPACITY) == 0.6
    browser.run("document.querySelector('#weight').focus()")
    browser.press("\ue014")  # to the right
    assert browser.run(OPACITY) == pytest.approx(0.65)
    browser.run("document.querySelector('.view').focus()")
    browser.press(ENTER)
    large = "const { width } = document.querySelector('dialog .view').getBoundingClientRect(); return width"
    assert browser.run(large) == pytest.approx(min(0.88 * 1200, 0.78 * 900 * 1.5), abs=1)
    browser.press(ESCAPE)
    assert not browser.run("return document.querySelector('dialog').open")


def test_images_of_one_method_stand_beside_one_another(browser):
    """They fill the page, and nothing is beyond its right edge."""
    browser.send("url", url=f"{browser.address}/one.html")
    (left, right, top), (second, end, below) = browser.run(LEFT)
    assert (top, right < second) == (below, True)
    assert end - left > 1100
    assert browser.run(INSIDE)
    browser.resize(390, 844)
    (left, _, top), (second, _, below) = browser.run(LEFT)
    assert (left, top < below) == (second, True)
    assert browser.run(INSIDE)
    browser.resize(1200, 900)
    browser.send("url", url=f"{browser.address}/r.html")


def test_on_a_phone_methods_stand_one_under_the_other(browser):
    browser.resize(390, 844)
    places = browser.run(LEFT)
    assert len({(left, right) for left, right, _ in places}) == 1
    assert places[0][1] - places[0][0] > 340
    assert sorted({top for *_, top in places}) == [top for *_, top in places]
    assert browser.run(INSIDE)
    browser.resize(1200, 900)
