"""The page in Chromium: its maps are Python's, boxes and the camera work,
and what is wrong is one sentence."""

import base64
import re
import warnings

import numpy as np
import pytest
from PIL import Image

from camport.errors import FlatMapWarning
from camport.runtime import load, open_image
from camport.view import overlay, pictured
from camport.web.site import SCENES, scenes
from tests.web.driver import CAMERA, browsing

pytestmark = pytest.mark.everything

SAME = 1e-4
ENTER, TAB = "\ue007", "\ue004"
GPU = (
    "enable-unsafe-webgpu",
    "use-webgpu-adapter=swiftshader",
    "enable-features=Vulkan",
    "use-vulkan=swiftshader",
)
ASKED = """
const { Explainer } = await import("./camport.js");
const ort = await import("./engine/ort.wasm.min.mjs");
const text = (data) => {
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
};
const map = ({ width, height, data }) => ({ shape: [height, width], text: text(data) });
const bytes = async (address) => new Uint8Array(await (await fetch(address)).arrayBuffer());
const explainer = await Explainer.load(ort, await bytes(given[0]));
const bitmap = await createImageBitmap(new Blob([await bytes(given[1])]), { colorSpaceConversion: "none" });
const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
context.drawImage(bitmap, 0, 0);
const picture = context.getImageData(0, 0, bitmap.width, bitmap.height);
"""
CLASS = (
    ASKED
    + "const found = await explainer.explain(picture, given[2]); return { ...found, heatmap: map(found.heatmap) };"
)
BOXES = (
    ASKED
    + "const { detections } = await explainer.detect(picture);"
    + "return detections.map((one) => ({ ...one, heatmap: map(one.heatmap()) }));"
)
DRAWN = """
const canvas = document.querySelector("#picture");
const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
return { shape: [canvas.height, canvas.width, 4], bytes: Array.from(data) };
"""
SETTLED = """
await new Promise((done) => setTimeout(done, 20));
while (document.querySelector("#stage").getAttribute("aria-busy") === "true") {
  await new Promise((done) => setTimeout(done, 20));
}
"""


def numbers(value):
    return np.frombuffer(base64.b64decode(value["text"]), np.float32).reshape(value["shape"])


def drawn(browser):
    found = browser.run(DRAWN)
    return np.array(found["bytes"], np.uint8).reshape(found["shape"])[..., :3].astype(int)


def text_of(browser, selector):
    return browser.run("return document.querySelector(given[0]).textContent", selector)


def found_by(explainer, picture):
    """Boxes, classes, confidences and maps of a file that finds them, in the picture's pixels."""
    pixels, placement = explainer.preprocess.apply(picture)
    result = explainer(pixels[None])
    rows = result["detections"]
    return (
        placement.boxes_to_image(rows[:, 1:5]),
        rows[:, 6],
        rows[:, 5],
        [*map(placement.to_image, result["heatmap"])],
    )


@pytest.fixture(scope="module")
def browser(site):
    with browsing(site, *CAMERA) as opened:
        opened.resize(1100, 900)
        yield opened


@pytest.mark.parametrize("scene", [path.name for path in scenes()])
@pytest.mark.parametrize("file", ["digits", "saliency"])
def test_a_classs_map_is_pythons(browser, exported, scene, file):
    browser.open()
    explainer = load(exported[file], ["cpu"])
    picture = open_image(SCENES / scene)
    pixels, placement = explainer.preprocess.apply(picture)
    for target in (-1, 3):
        found = browser.run(CLASS, f"files/{file}.onnx", f"samples/{scene}", target)
        expected = explainer(pixels[None], target=target)
        assert (
            np.abs(numbers(found["heatmap"]) - placement.to_image(expected.heatmap[0])).max() < SAME
        )
        assert found["score"] == pytest.approx(float(expected.score[0]), abs=1e-3)
        assert found["target"] == (target if target >= 0 else int(expected.outputs[0].argmax()))
        assert np.abs(np.array(found["outputs"]) - expected.outputs[0]).max() < 1e-3


@pytest.mark.parametrize("scene", [path.name for path in scenes()])
def test_boxes_and_their_maps_are_pythons(browser, exported, scene):
    browser.open()
    boxes, labels, confidence, maps = found_by(
        load(exported["detector"], ["cpu"]), open_image(SCENES / scene)
    )
    found = browser.run(BOXES, "files/detector.onnx", f"samples/{scene}")
    assert len(found) == len(boxes) > 0
    for one, box, label, sure, heatmap in zip(found, boxes, labels, confidence, maps, strict=True):
        assert np.abs(np.array(one["box"]) - box).max() < 1e-2
        assert (one["label"], one["confidence"]) == (label, pytest.approx(float(sure), abs=1e-4))
        assert np.abs(numbers(one["heatmap"]) - heatmap).max() < SAME


@pytest.mark.parametrize("size", [(200, 77), (63, 150), (1, 40)], ids=str)
def test_other_shapes_of_picture(browser, exported, size, tmp_path):
    file = tmp_path / "other.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)).save(file)
    browser.open()
    explainer = load(exported["digits"], ["cpu"])
    pixels, placement = explainer.preprocess.apply(open_image(file))
    address = f"data:image/png;base64,{base64.b64encode(file.read_bytes()).decode()}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FlatMapWarning)
        maps = explainer(np.repeat(pixels[None], 10, 0), target=list(range(10))).heatmap
    digit = next(i for i, heatmap in enumerate(maps) if heatmap.any())  # flat ones say little
    found = browser.run(CLASS, "files/digits.onnx", address, digit)
    expected = placement.to_image(maps[digit])
    assert np.abs(numbers(found["heatmap"]) - expected).max() < SAME


def test_the_page_shows_the_map_that_python_draws(browser, exported):
    said = browser.open()
    scene = next(iter(scenes()))
    explainer, picture = load(exported["digits"], ["cpu"]), open_image(scene)
    pixels, placement = explainer.preprocess.apply(picture)
    result = explainer(pixels[None], target=-1)
    top = int(result.outputs[0].argmax())
    assert re.fullmatch(rf"{explainer.labels[top]}: score {result.score[0]:.2f}, \d+ ms", said)
    assert re.fullmatch(
        r"digits\.onnx: gradcam at layer3, \d\.\d MB, by WASM", text_of(browser, "#file")
    )
    expected = np.array(
        overlay(picture, pictured(placement.to_image(result.heatmap[0]), None), alpha=0.6)
    ).astype(int)
    assert np.abs(drawn(browser) - expected).max() <= 2
    order = np.argsort(-result.outputs[0])[:5]
    listed = browser.run(
        "return [...document.querySelectorAll('#best button')].map((one) => one.textContent)"
    )
    assert listed == [f"{explainer.labels[i]}{result.outputs[0][i]:.2f}" for i in order]
    browser.run("document.querySelectorAll('#best button')[1].click();" + SETTLED)
    assert text_of(browser, "#status").startswith(
        f"{explainer.labels[order[1]]}: score {result.outputs[0][order[1]]:.2f}"
    )
    other = placement.to_image(explainer(pixels[None], target=int(order[1])).heatmap[0])
    assert (
        np.abs(drawn(browser) - np.array(overlay(picture, other, alpha=0.6)).astype(int)).max() <= 2
    )


def test_a_box_is_chosen_by_a_click_and_by_the_keyboard(browser, exported):
    browser.open("?model=detector.onnx")
    explainer, picture = load(exported["detector"], ["cpu"]), open_image(next(iter(scenes())))
    boxes, labels, confidence, maps = found_by(explainer, picture)
    assert len(boxes) == 2

    def shows(index):
        expected = np.array(overlay(picture, maps[index], alpha=0.6)).astype(int)
        assert np.abs(drawn(browser) - expected).max() <= 2
        chosen = "return [...document.querySelectorAll('#boxes button')].map((one) => one.getAttribute('aria-pressed'))"
        assert browser.run(chosen) == ["true" if i == index else "false" for i in range(2)]

    shows(0)
    places = browser.run(
        "const stage = document.querySelector('#stage').getBoundingClientRect();"
        "return [...document.querySelectorAll('#boxes button')].map((one) => { const box = one.getBoundingClientRect();"
        "return [box.left - stage.left, box.top - stage.top, box.right - stage.left, box.bottom - stage.top]"
        ".map((value) => value / stage.width * given[0]); });",
        picture.width,
    )
    assert np.abs(np.array(places) - boxes).max() < 0.5
    named = [
        f"{explainer.labels[int(label)]} {sure:.2f}"
        for label, sure in zip(labels, confidence, strict=True)
    ]
    assert (
        browser.run(
            "return [...document.querySelectorAll('#boxes span')].map((one) => one.textContent)"
        )
        == named
    )
    browser.run("document.querySelectorAll('#boxes button')[1].click()")
    shows(1)
    browser.run("document.querySelectorAll('#best button')[0].focus()")
    browser.press(ENTER)
    shows(0)
    browser.press(TAB)
    browser.press(ENTER)
    shows(1)
    browser.run("document.querySelectorAll('#boxes button')[0].focus()")
    browser.press(ENTER)
    shows(0)
    browser.press(TAB)
    browser.press(ENTER)
    shows(1)


@pytest.mark.parametrize(
    ("model", "match"),
    [
        ("nothere.onnx", r"nothere\.onnx is not at the address nothere\.onnx: the server says 404"),
        (
            "https://example.com/x.onnx",
            r"x\.onnx is not at the address https.*: only files of this page's own site",
        ),
        ("no file.onnx", r"no file\.onnx: this is no ONNX file, or it is cut short"),
        (
            "boxes.onnx",
            r"task detection and takes images, boxes, class_ids: .* exported with --one-image --nms",
        ),
    ],
)
def test_a_wrong_file_or_address_is_named(browser, model, match):
    said = browser.open(f"?model={model}")
    assert re.search(match, said)
    assert browser.run("return document.querySelector('#status').className") == "wrong"
    assert text_of(browser, "#file") == "No file."
    choose = "const list = document.querySelector('#files'); list.value = 'digits.onnx'; list.onchange({ target: list });"
    browser.run(choose + SETTLED)
    assert text_of(browser, "#file").startswith("digits.onnx")


def test_while_a_file_is_loaded_the_header_names_none(browser):
    browser.open("?model=digits.onnx")
    watched = """
    const [seen, status] = [[], document.querySelector("#status")];
    new MutationObserver(() => seen.push([status.textContent, document.querySelector("#file").textContent]))
      .observe(status, { childList: true, characterData: true, subtree: true });
    const list = document.querySelector("#files");
    list.value = "saliency.onnx";
    list.onchange({ target: list });
    """
    seen = dict(browser.run(watched + SETTLED + "return seen;"))
    assert seen["loading saliency.onnx ..."] == ""
    assert text_of(browser, "#file").startswith("saliency.onnx: ")


def test_labels_are_text(browser):
    browser.open("?model=hostile.onnx")
    listed = browser.run(
        "return [...document.querySelectorAll('#target option')].map((one) => one.textContent)"
    )
    assert listed[1:3] == ["<img src=x onerror=alert(1)>", "<b>one</b>"]
    assert listed[8] == "&lt;7"
    assert (
        browser.run(
            "return document.querySelectorAll('#best img, #best b, #status b, #boxes img').length"
        )
        == 0
    )
    assert text_of(browser, "#best button span") == "&lt;7"


def test_nothing_is_asked_of_another_address(browser):
    for model in ("digits.onnx", "detector.onnx"):
        browser.open(f"?model={model}")
        asked = browser.run(
            "return performance.getEntriesByType('resource').map((one) => one.name)"
        )
        assert len(asked) > 10
        assert [
            name for name in asked if not name.startswith((browser.address, "data:", "blob:"))
        ] == []


@pytest.mark.parametrize("model", ["digits.onnx", "detector.onnx"])
def test_the_camera_runs_and_stops(browser, model):
    browser.open(f"?model={model}")
    browser.run("document.querySelector('#camera').click();")
    shown = browser.run(
        "for (let i = 0; i < 600 && !document.querySelector('#pace').textContent; i++)"
        "  await new Promise((done) => setTimeout(done, 100));"
        "return ['#pace', '#camera'].map((one) => document.querySelector(one).textContent)"
    )
    assert re.fullmatch(r"\d+\.\d frames a second", shown[0])
    assert float(shown[0].split()[0]) > 0
    assert shown[1] == "Stop the camera"
    assert drawn(browser).shape == (480, 640, 3)  # of Chromium's own camera
    browser.run("document.querySelector('#camera').click();" + SETTLED)
    assert text_of(browser, "#pace") == ""
    assert text_of(browser, "#camera") == "Use the camera"
    assert browser.run("return document.querySelector('#video').srcObject === null")


def test_a_click_outlasts_the_cameras_frames(browser):
    """A button is the same element from one frame to the next, and so is where the focus is."""
    browser.open()
    browser.run("document.querySelector('#camera').click();")
    browser.run(
        "while (!document.querySelector('#pace').textContent) await new Promise((d) => setTimeout(d, 100));"
    )
    browser.run(
        "window.clicks = 0; const list = document.querySelector('#best');"
        "list.addEventListener('click', (event) => { if (event.target.closest('button')) window.clicks++; });"
    )
    for row in (2, 3):
        browser.hold(f"#best li:nth-child({row}) button", 500)
    assert browser.run("return window.clicks") == 2
    assert browser.run("return document.activeElement.matches('#best li:nth-child(3) button')")
    browser.run("document.querySelector('#camera').click();" + SETTLED)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 800, 1100])
def test_nothing_overlaps_or_leaves_the_page(browser, width, scheme):
    browser.resize(width, 800)
    browser.prefer(scheme)
    for model in ("digits.onnx", "detector.onnx"):
        browser.open(f"?model={model}")
        assert browser.run("return document.documentElement.scrollWidth") <= width
        cuts = browser.run(
            "const shown = [...document.querySelectorAll('header, #stage, #status, .field > *, #boxes span')]"
            ".filter((one) => one.offsetWidth).map((one) => [one.id || one.textContent, "
            "one.getBoundingClientRect(), one.matches('#boxes span')]);"
            "return shown.flatMap(([a, p, inside], i) => shown.slice(i + 1).filter(([b, q, other]) => inside === other"
            " && p.left < q.right - 1 && q.left < p.right - 1 && p.top < q.bottom - 1 && q.top < p.bottom - 1)"
            ".map(([b]) => `${a} and ${b}`));"
        )
        assert cuts == []
    ground = browser.run("return getComputedStyle(document.body).backgroundColor")
    assert (np.mean([int(n) for n in re.findall(r"\d+", ground)[:3]]) > 128) == (scheme == "light")
    browser.resize(1100, 900)


def test_an_image_that_is_dropped(browser, exported):
    browser.open()
    browser.run(
        "const bytes = await (await fetch(given[0])).blob(), data = new DataTransfer();"
        "data.items.add(new File([bytes], 'dropped.png'));"
        "document.body.dispatchEvent(new DragEvent('drop', { dataTransfer: data, bubbles: true, cancelable: true }));"
        + SETTLED,
        "samples/zero-nine.png",
    )
    explainer, picture = load(exported["digits"], ["cpu"]), open_image(SCENES / "zero-nine.png")
    pixels, placement = explainer.preprocess.apply(picture)
    heatmap = placement.to_image(explainer(pixels[None], target=-1).heatmap[0])
    assert (
        np.abs(drawn(browser) - np.array(overlay(picture, heatmap, alpha=0.6)).astype(int)).max()
        <= 2
    )


def test_webgpu_computes_where_it_is(site, exported):
    """Chromium's own, without a graphics card."""
    with browsing(site, *GPU) as opened:
        opened.open("?model=digits.onnx")
        assert text_of(opened, "#file").endswith("by WebGPU")
        explainer, picture = load(exported["digits"], ["cpu"]), open_image(next(iter(scenes())))
        pixels, placement = explainer.preprocess.apply(picture)
        heatmap = placement.to_image(explainer(pixels[None], target=-1).heatmap[0])
        assert (
            np.abs(drawn(opened) - np.array(overlay(picture, heatmap, alpha=0.6)).astype(int)).max()
            <= 2
        )
