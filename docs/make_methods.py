"""Writes docs/methods.md from the methods' classes and docstrings:
`python docs/make_methods.py`."""

import re
from collections.abc import Sequence
from pathlib import Path

import camport
from camport.core import registry
from camport.core.describe import Description, describe

PAGE = Path(__file__).with_name("methods.md")
HEAD = """# Methods

{count} methods, by their registry names. This page is made from their docstrings and traits by
`python docs/make_methods.py`; `camport methods NAME` prints the same.

`A` are the activations `[b,c,h,w]` at the target layer, `y` or `y^c` the score that is explained, `G = dy/dA`. The map
is the method's own, `Explanation.raw`, at the resolution of the layer, of a transformer's patches, or of the images.
The heatmap is that map, upsampled and scaled to `[0,1]`. Forward passes are runs of the whole model on one image, `c`
being the number of channels at the layer, `patches` those that cover the image, and the other letters options.

Several layers are fused by the option `fusion`. Its default, "max", is of the maps as they are, which is right for the
levels of a detector's pyramid: a level without evidence adds nothing. In a trained classifier maps grow with depth by
orders of magnitude, so that "max" and "mean" mostly show the deepest layer alone. "normalised max", "normalised mean"
and "normalised product" scale each layer's map to `[0,1]` first, as other libraries do.

Not every method notices that a network's weights are gone. After all parameters of a trained network were drawn anew,
the maps of `eigencam`, `kpcacam`, `fem`, `feature_maps`, `gradcam++`, `layercam`, `gradcam_elementwise`,
`smoothgradcam++`, `scorecam`, `iscam`, `sscam`, `guided_backprop`, `xrai`, `rise` and `drise` still correlate with the
trained network's at 0.5 and more; those of `gradcam`, `hirescam`, `finercam`, `integrated_gradients` and `occlusion` do
not ([SANITY.md](../benchmarks/SANITY.md), after Adebayo et al. 2018, arXiv 1810.03292). What such a method shows is not
evidence of what a network has learned.

Any method is averaged over noisy images by `camport.plugins.Smoothed`: `camport.bind(model, Smoothed(LayerCAM()))`.

"""


def page() -> str:
    """The whole page."""
    found = [
        describe(registry.explainer(n))
        for n, i in camport.methods().items()
        if i.distribution == "camport"
    ]
    anchors: dict[str, int] = {}
    heads = ("name", "method", "map", "range", "gradients", "forward passes", "exports", "paper")
    rows = [row(d, anchors) for d in found]
    return (
        HEAD.format(count=len(found))
        + table(heads, rows)
        + "\n\n"
        + "\n".join(section(d) for d in found)
    )


def row(d: Description, anchors: dict[str, int]) -> tuple[str, ...]:
    """One line of the table; `anchors` counts the headings that came before."""
    c = d.cls
    place = re.search(r"of the (\w+)", d.map)
    return (
        f"[`{c.name}`](#{anchor(c.title, anchors)})",
        c.title,
        place.group(1) if place else "",
        "signed" if d.signed else "≥ 0",
        "yes" if c.needs_gradients else "no",
        f"`{d.passes}`",
        "yes" if c.exportable else "no",
        paper(d) + (f", {d.places}" if d.places else ""),
    )


def section(d: Description) -> str:
    """One method."""
    c = d.cls
    parts = [f"## {c.title}", d.summary]
    parts += [f"```math\n{equation}\n```" for equation in d.equations]
    parts += [markdown(p) for p in d.text]
    exports = "yes" if c.exportable else f"no: {c.not_exportable_because}"
    where = paper(d) + (f", {d.places}" if d.places else "")
    facts = (
        ("Name", f"`{c.name}`, {c.family}"),
        ("Paper", where),
        ("Deviations", markdown(d.deviations) or "none"),
        ("Map", d.map),
        ("Cost", d.cost),
        ("Gradients", "needed" if c.needs_gradients else "not needed"),
        ("Target layer", "needed" if c.needs_layer else "none"),
        ("Exports", exports),
    )
    parts.append(table(("", ""), facts))
    if d.options:
        rows = [(f"`{o.name}`", f"`{o.default}`", markdown(o.text)) for o in d.options]
        parts.append(table(("option", "default", "meaning"), rows))
    return "\n\n".join(parts) + "\n"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines
    )


def paper(d: Description) -> str:
    """Its number as a link."""
    number = d.cls.paper
    return (
        f"[{'doi' if number.startswith('10.') else 'arXiv'} {number}]({d.link})"
        if d.link
        else "none"
    )


def anchor(title: str, before: dict[str, int]) -> str:
    """As GitHub makes it of a heading: equal ones are numbered."""
    name = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
    before[name] = before.get(name, -1) + 1
    return f"{name}-{before[name]}" if before[name] else name


def markdown(text: str) -> str:
    """reStructuredText's formulas as Markdown's."""
    return re.sub(r":math:`([^`]+)`", r"$\1$", text)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE.name}")
