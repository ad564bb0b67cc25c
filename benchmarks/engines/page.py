"""The page of `camport web`, driven: does it see the pixels that Python sees,
and draw the map that Python gets?"""

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.engines.web import PACKAGE, ROOT, Browser, decode
from camport.export.proof.parity import relative_error
from camport.runtime import Preprocess, load, open_image
from camport.web import from_folder, write_site

SAMPLES = ROOT / "camport" / "demo" / "samples"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PREPROCESSES = (
    Preprocess((224, 224)),
    Preprocess((320, 200), interpolation="bicubic", scale=1 / 127.5, mean=(1, 1, 1)),
    Preprocess((224, 224), "crop", 256, mean=MEAN, std=STD),
    Preprocess((384, 384), "crop", 384, "bicubic", mean=MEAN, std=STD),
    Preprocess((300, 320), "letterbox"),
    Preprocess((300, 320), "letterbox", stride=32),
    Preprocess((96, 96), mean=(0.5,), std=(0.25,)),
    Preprocess(side=(64, None)),
    Preprocess(None),
)
SIZES = ((427, 640), (641, 203), (128, 128))

_OPEN = """
const { Explainer, prepare, toImage } = await import("/camport/web/page/camport.js");
const { base64 } = await import("/benchmarks/engines/engines.js");
const ort = await import("/examples/browser/node_modules/onnxruntime-web/dist/ort.wasm.min.mjs");
const open = async (address) => {
  const bitmap = await createImageBitmap(await (await fetch(address)).blob(), { colorSpaceConversion: "none" });
  const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
  context.drawImage(bitmap, 0, 0);
  return context.getImageData(0, 0, bitmap.width, bitmap.height);
};
"""
_PREPARE = (
    _OPEN
    + """
const [address, how] = given;
const { pixels, placement } = prepare(await open(address), how);
const [height, width] = placement.network;
const ramp = Float32Array.from({ length: height * width }, (_, i) => Math.abs(Math.sin(i)));
const map = toImage({ height, width, data: ramp }, placement);
return [{ type: "float32", dims: [how.mean.length, ...placement.network], base64: base64(pixels) },
  { type: "float32", dims: placement.image, base64: base64(map.data) }];
"""
)
_EXPLAIN = (
    _OPEN
    + """
const [file, pairs] = given;
const explainer = await Explainer.load(ort, new Uint8Array(await (await fetch(file)).arrayBuffer()));
const found = [];
for (const [address, target] of pairs) {
  const { heatmap, score } = await explainer.explain(await open(address), target);
  found.push([{ type: "float32", dims: [heatmap.height, heatmap.width], base64: base64(heatmap.data) }, score]);
}
return found;
"""
)


@dataclass(frozen=True)
class Page:
    """What the comparison gave.

    Attributes:
        inputs: how many pictures were prepared.
        values: how many numbers they are.
        unequal: how many of these are not the same float32 in Python.
        enlarged: largest difference of a map brought to the picture's size.
        maps: how many heatmaps were computed.
        heatmap, score: the largest relative l2 difference from Python's.
        said: the page's own last line.
    """

    inputs: int
    values: int
    unequal: int
    enlarged: float
    maps: int
    heatmap: float
    score: float
    said: str


def check(browser: Browser, file: Path, screenshot: Path | None = None) -> Page:
    """Drives the page with `file`, an exported explainer of the demo's digits."""
    browser.open("benchmarks/engines/engines.js")
    inputs = values = unequal = 0
    enlarged = 0.0
    for size in SIZES:
        picture = browser.files / f"{size[0]}.png"
        picture.write_bytes(_png(size))
        for how in PREPROCESSES:
            found = browser.call(_PREPARE, browser.share(picture), json.loads(how.to_json()))
            pixels, enlarged_map = map(decode, found)
            expected, placement = how.apply(open_image(picture))
            unequal += (
                int((pixels != expected).sum()) if pixels.shape == expected.shape else expected.size
            )
            ramp = np.abs(np.sin(np.arange(expected[0].size))).reshape(expected.shape[1:])
            enlarged = max(enlarged, float(np.abs(enlarged_map - placement.to_image(ramp)).max()))
            inputs, values = inputs + 1, values + expected.size
    explainer = load(file, ["cpu"], threads=1)
    pairs: list[tuple[Path, int]] = []
    for scene in json.loads((SAMPLES / "samples.json").read_text(encoding="utf-8")):
        pairs += [
            (SAMPLES / scene["file"], target)
            for target in (-1, *(d["label"] for d in scene["digits"]))
        ]
    asked = [(f"/{path.relative_to(ROOT)}", target) for path, target in pairs]
    answers = browser.call(_EXPLAIN, browser.share(file), asked)
    heatmap = score = 0.0
    for (path, target), (drawn, said_score) in zip(pairs, answers, strict=True):
        pixels, placement = explainer.preprocess.apply(open_image(path))
        result = explainer(pixels[None], target=target)
        heatmap = max(heatmap, _distance(decode(drawn), placement.to_image(result.heatmap[0])))
        score = max(score, _distance(np.float32(said_score), result.score[0]))
    said = _visit(browser, file, screenshot)
    return Page(inputs, values, unequal, enlarged, len(pairs), heatmap, score, said)


def _visit(browser: Browser, file: Path, screenshot: Path | None) -> str:
    """Opens the page as a person does; the line under its picture, once it is there."""
    scenes = json.loads((SAMPLES / "samples.json").read_text(encoding="utf-8"))
    samples = {SAMPLES / scene["file"]: scene["caption"] for scene in scenes}
    write_site(browser.files / "site", [file], from_folder(PACKAGE), samples)
    browser.open("files/site/index.html")
    said = browser.call(
        "while (!document.body.dataset.ready) await new Promise((done) => setTimeout(done, 50));"
        'if (document.querySelector("#status.wrong")) throw new Error(document.querySelector("#status").textContent);'
        'return document.querySelector("#status").textContent;'
    )
    if screenshot:
        browser.driver.save_screenshot(str(screenshot))
    return str(said)


def _distance(value: Any, reference: Any) -> float:
    import torch

    return relative_error(*(torch.from_numpy(np.array(x)) for x in (value, reference)))


def _png(size: tuple[int, int]) -> bytes:
    """A picture with edges, ramps and noise, losslessly: what decoders may differ in stays out."""
    height, width = size
    y, x = np.mgrid[:height, :width]
    generator = np.random.default_rng(height)
    channels = [255 * ((x * 3 + y * 2) % 97 > 40), (x + y) % 256, generator.integers(0, 256, size)]
    file = io.BytesIO()
    Image.fromarray(np.stack(channels, axis=-1).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()
