"""Writes docs/gallery.md and its pictures: every method on the same photographs and scenes,
with what our tables say.

`python docs/make_gallery.py [METHOD ...]`: the pictures of these methods, or of all; the page is
written in any case. Figures are read out of benchmarks/QUALITY.md, RUNNING.md and SANITY.md, so
that none stands here that was not measured.
"""

import re
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL.Image import Image

import camport
from camport.core import registry
from camport.models import load_model
from camport.show.photographs import seen
from camport.show.show import samples
from camport.view import Cell, grid, overlay
from camport.view.gradient import pictured

HERE = Path(__file__).parent
PHOTOGRAPHS = (("chelsea", "Egyptian cat"), ("coffee", "espresso"))
SCENE, DIGITS = 0, (4, 7)
FEWER = {
    "rise": {"samples": 500},
    "drise": {"samples": 500},
    "sscam": {"samples": 1},
    "iscam": {"samples": 1},
    "xrai": {"steps": 20},
}
"""Options under which a method of many passes is drawn; the page says so."""
FAMILIES = {
    "activation": "Activations and gradients at a layer",
    "attention": "Attention of transformers",
    "input-gradient": "Gradients of the image",
    "perturbation": "Masked images",
}
HEAD = """# Gallery

Every method on the same two photographs (`demo:imagenet`, a trained EfficientNet-Lite0) and one scene whose digits are
asked about in turn (`demo:digits`; attention's methods on `demo:vit`). Hot is what speaks for the class; the colours
reach from 0 to the map's maximum. Under each row what was measured elsewhere:

- **cost**: prediction and explanation over the bare forward pass of resnet18, in PyTorch and from the exported file
  ([RUNNING.md](../benchmarks/RUNNING.md)), with fewer variants where it says so;
- **points at the digit**: share of maps of `demo:digits` whose maximum lies on the digit that was asked about, a random
  map's being 13 %, and **insertion minus deletion** of the same maps, a random map's being near 0
  ([QUALITY.md](../benchmarks/QUALITY.md));
- **without weights**: rank correlation with the map of the same network, all of whose parameters are drawn anew; what
  stays near 1 does not show what the network has learned ([SANITY.md](../benchmarks/SANITY.md)).

[Which method for what](which_method.md) draws the conclusions; [each method in full](methods.md) has the equations.
`python docs/make_gallery.py` makes this page.
"""


def main(names: Sequence[str]) -> None:
    """The pictures of these methods, or of all, and the page."""
    (HERE / "images/gallery").mkdir(exist_ok=True)
    for name, cls in methods().items():
        if name in names or not names:
            picture = row(name, cls)
            picture.convert("RGB").save(path(name), quality=82, optimize=True)
            print(name, flush=True)
    (HERE / "gallery.md").write_text(page(), encoding="utf-8")


def methods() -> dict[str, type[camport.Explainer]]:
    """The built-in ones by name."""
    return {
        n: registry.explainer(n)
        for n, i in camport.methods().items()
        if i.distribution == "camport"
    }


def page() -> str:
    """The whole page."""
    parts, tables = [HEAD], read_tables()
    for family, title in FAMILIES.items():
        parts.append(f"## {title}\n")
        parts += [
            section(name, cls, tables) for name, cls in methods().items() if cls.family == family
        ]
    return "\n".join(parts)


def path(name: str) -> Path:
    """The file of a method's picture."""
    return HERE / "images/gallery" / f"{name.replace('+', 'p')}.jpg"


def row(name: str, cls: type[camport.Explainer]) -> Image:
    """The method's maps, and what was asked under each."""
    torch.manual_seed(0)
    method = cls(**FEWER.get(name, {}))
    cells: list[Cell] = []
    if cls.family != "attention":
        loaded = load_model("demo:imagenet")
        for photograph, label in PHOTOGRAPHS:
            one = seen(loaded, photograph, label)
            found = camport.bind(loaded.model, method)(one.pixels, one.target)
            heat = pictured(one.shown(found.heatmap[0].numpy()), cls.family)
            cells.append(Cell(overlay(one.picture, heat, alpha=0.6), label))
    loaded = load_model("demo:vit" if cls.family == "attention" else "demo:digits")
    scene = samples()[SCENE]
    bound = camport.bind(loaded.model, method, loaded.layer if cls.needs_layer else None)
    pixels, placement = loaded.preprocess.apply(scene.picture)
    for digit in DIGITS:
        found = bound(torch.from_numpy(pixels)[None], digit)
        heat = pictured(placement.to_image(found.heatmap[0].numpy()), cls.family)
        cells.append(Cell(overlay(scene.picture, heat, alpha=0.6), f"digit {digit}"))
    return grid([cells], cell=240)


def read_tables() -> dict[str, dict[str, list[str]]]:
    """The rows of three pages by the method's name, without options and intervals."""

    def rows(page: str, head: str) -> dict[str, list[str]]:
        text = (HERE.parent / "benchmarks" / page).read_text(encoding="utf-8")
        text = text[text.index(f"\n## {head}") + 4 :]
        found = {}
        for line in text[: text.find("\n## ") if "\n## " in text else None].splitlines():
            if line.startswith("| "):
                first, *cells = (cell.strip() for cell in line.strip("|").split(" | "))
                plain = first.strip("`* ")
                found.setdefault(
                    plain.partition("(")[0],
                    [plain, *(re.sub(r"[*]| \[.*?\]", "", c) for c in cells)],
                )
        return found

    return {
        "quality": rows("QUALITY.md", "digits"),
        "vit": rows("QUALITY.md", "vit"),
        "running": rows("RUNNING.md", "torchvision:resnet18"),
        "sanity": rows("SANITY.md", "Randomisation of parameters"),
    }


def section(
    name: str, cls: type[camport.Explainer], tables: dict[str, dict[str, list[str]]]
) -> str:
    """The method's picture, and a line of figures."""
    facts = []
    if cost := tables["running"].get(name):
        options = cost[0].partition("(")[2].rstrip(")")
        exported = f", {cost[4]} exported" if cost[4] != "-" else ", no export"
        facts.append(f"cost {cost[2]}{exported}{f' ({options})' if options else ''}")
    network = "vit" if cls.family == "attention" else "quality"
    if figures := tables[network].get(name):
        facts.append(
            f"points at the digit {float(figures[2]):.0%}, insertion minus deletion {figures[1]}"
        )
    if sanity := tables["sanity"].get(name):
        facts.append(f"without weights {sanity[-1].split(' ')[0]}")
    drawn = ", ".join(f"{k}={v}" for k, v in FEWER.get(name, {}).items())
    text = (
        f"`{name}`{f', drawn with {drawn}' if drawn else ''}:"
        f" {'; '.join(facts) or 'not in the tables'}."
    )
    image = path(name).relative_to(HERE).as_posix()
    return f"### {cls.title}\n\n![{cls.title} of two photographs and a scene]({image})\n\n{text}\n"


if __name__ == "__main__":
    main(sys.argv[1:])
