"""The report of an evaluation: one HTML file that needs nothing beside it."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from camport.core import registry
from camport.errors import MissingDependencyError
from camport.evaluation.examples import Example
from camport.evaluation.references import REFERENCES
from camport.evaluation.store import Store
from camport.evaluation.summary import FLAT, Cell, Table
from camport.files import write_text
from camport.runtime import Preprocess
from camport.view import overlay, pictured

WIDTH = 160
STYLE = """
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }
body { margin: 2rem auto; max-width: 76rem; padding: 0 1rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .7rem; text-align: right; white-space: nowrap; }
th, td { border-bottom: 1px solid #8884; }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: Canvas; }
small { opacity: .65; } .chance { opacity: .55; } .reference td { font-style: italic; }
figure { display: inline-block; margin: 0 .6rem .6rem 0; vertical-align: top; }
figcaption { font-size: .8rem; max-width: 160px; overflow-wrap: anywhere; }
.wide { overflow-x: auto; } img { max-width: 100%; }
"""


def write_report(
    folder: Path,
    title: str,
    table: Table,
    store: Store,
    examples: Sequence[Example],
    preprocess: Preprocess,
) -> Path:
    """`report.html` in the folder: the table, curves, maps of the first examples,
    and what was refused.

    Raises:
        MissingDependencyError: matplotlib, which draws the curves, is not installed.
    """
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{len(store.examples())} examples. {escape(verdict(table))}</p>",
        "<h2>Figures</h2>",
        (
            "<p><small>Mean over the examples with the 95 % interval of the percentile bootstrap."
            " Pale figures are not better than a random map's on the same examples (the interval of"
            " their difference holds 0).</small></p>"
        ),
        f'<div class="wide">{"".join(_table(table))}</div>',
        *_curves(table, store),
        *_maps(table, store, examples, preprocess),
        *_refusals(table),
    ]
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    )
    page = (
        "<!doctype html>\n<html"
        f' lang="en"><head>{head}<title>{escape(title)}</title><style>{STYLE}</style></head>\n'
        f"<body>{''.join(parts)}</body></html>\n"
    )
    return write_text(folder / "report.html", page)


def verdict(table: Table) -> str:
    """One sentence: the method that ranks best,
    and which are no better than chance in most metrics."""
    methods = [m for m in table.ranks if m not in REFERENCES]
    if not methods:
        return "No metric has a figure of every method, so that they are not ranked."
    weak = [m for m in methods if not _above(table, m)]
    text = f"Best by mean rank over the metrics: {', then '.join(methods[:3])}."
    return text + (
        f" No better than a random map in most metrics: {', '.join(weak)}." if weak else ""
    )


def _above(table: Table, method: str) -> bool:
    """Better than the random map in at least half of the metrics."""
    cells = [
        c for c in table.cells if c.method == method and c.gain_low is not None and c.metric != FLAT
    ]
    return not cells or sum(c.gain_low > 0 for c in cells if c.gain_low is not None) * 2 >= len(
        cells
    )


def _table(table: Table) -> Iterator[str]:
    metrics = list(dict.fromkeys(c.metric for c in table.cells))
    better = {c.metric: c.better for c in table.cells}
    heads = "".join(
        f"<th>{escape(m)}<br><small>{better[m]} is better</small></th>" for m in metrics
    )
    yield f"<table><thead><tr><th>method</th>{heads}<th>mean rank</th></tr></thead><tbody>"
    methods = list(dict.fromkeys(c.method for c in table.cells))
    for method in sorted(methods, key=lambda m: table.ranks.get(m, np.inf)):
        cells = "".join(f"<td>{_cell(table.cell(method, metric))}</td>" for metric in metrics)
        rank = f"{table.ranks[method]:.1f}" if method in table.ranks else "-"
        kind = ' class="reference"' if method in REFERENCES else ""
        name = escape(REFERENCES.get(method, method))
        yield f"<tr{kind}><td>{name}</td>{cells}<td>{rank}</td></tr>"
    yield "</tbody></table>"


def _cell(cell: Cell | None) -> str:
    if cell is None:
        return "-"
    text = f"{cell.mean:.3g} <small>{cell.low:.3g} to {cell.high:.3g}</small>"
    weak = cell.gain_low is not None and cell.gain_low <= 0 and cell.metric != FLAT
    return f'<span class="chance">{text}</span>' if weak else text


def _curves(table: Table, store: Store) -> Iterator[str]:
    """A picture for each curve of each metric, the mean of every method over the examples."""
    first = True
    for metric in dict.fromkeys(c.metric for c in table.cells):
        found = {m: store.curves(m, metric) for m in dict.fromkeys(c.method for c in table.cells)}
        for name in dict.fromkeys(name for curves in found.values() for name in curves):
            lines = {m: curves[name].mean(0) for m, curves in found.items() if name in curves}
            if first:
                yield "<h2>Curves</h2>"
            first = False
            yield (
                f'<p><img alt="{escape(metric)}, {escape(name)}"'
                f' src="{_plot(lines, f"{metric}: {name}")}"></p>'
            )


def _plot(lines: Mapping[str, np.ndarray], title: str) -> str:
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise MissingDependencyError(
            'the report needs matplotlib: pip install "camport[evaluate]"'
        ) from None
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    axes: Any = figure.subplots()
    for i, (method, points) in enumerate(lines.items()):
        reference = method in REFERENCES
        style = (
            {"color": "0.5", "linestyle": "--" if method == "random" else ":"} if reference else {}
        )
        dashes = ("-", "--", "-.", ":")[i // 10 % 4]
        axes.plot(
            np.linspace(0, 1, len(points)),
            points,
            label=REFERENCES.get(method, method),
            linewidth=1.6,
            **(style or {"linestyle": dashes}),
        )
    axes.set(title=title, xlabel="share of the pixels", xlim=(0, 1))
    axes.grid(alpha=0.25)
    axes.legend(
        loc="center left",
        bbox_to_anchor=(1.01, 0.5),
        fontsize=8,
        ncols=1 + len(lines) // 20,
        frameon=False,
    )
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=110)
    return _inline(data.getvalue())


def _maps(
    table: Table, store: Store, examples: Sequence[Example], preprocess: Preprocess
) -> Iterator[str]:
    """Each of the first examples with the map of every method over it, as the network sees it."""
    asked = store.examples()
    maps = {m: store.maps(m) for m in dict.fromkeys(c.method for c in table.cells)}
    shown = sorted(
        {example for found in maps.values() for example in found if example < len(asked)}
    )
    if shown:
        yield "<h2>Maps</h2>"
    for number in shown:
        name, what, probability = asked[number]
        yield f"<h3>{escape(name)} <small>{escape(what)}, {probability:.2f}</small></h3>"
        picture = examples[number].picture()
        if not isinstance(picture, Image.Image):
            continue  # more or fewer channels than a picture has
        whole, placement = picture.convert("RGB"), preprocess.apply(picture)[1]
        yield _figure(_fitted(whole), "")
        for method, found in maps.items():
            if number in found:
                family = (
                    None
                    if method in REFERENCES
                    else registry.explainer(method.partition("(")[0]).family
                )
                heatmap = placement.to_image(
                    pictured(found[number].astype(np.float32) / 255, family)
                )
                yield _figure(_fitted(overlay(whole, heatmap)), REFERENCES.get(method, method))


def _figure(picture: Image.Image, caption: str) -> str:
    data = io.BytesIO()
    picture.convert("RGB").save(data, "JPEG", quality=85)
    source = _inline(data.getvalue(), "jpeg")
    text = escape(caption)
    return (
        f'<figure><img width="{WIDTH}" alt="{text}"'
        f' src="{source}"><figcaption>{text}</figcaption></figure>'
    )


def _fitted(picture: Image.Image) -> Image.Image:
    return picture.resize((2 * WIDTH, max(1, round(2 * WIDTH * picture.height / picture.width))))


def _refusals(table: Table) -> Iterator[str]:
    if table.refusals:
        lines = "".join(
            f"<li>{escape(method)}{escape(f', {metric}') if metric else ''}: {escape(reason)}</li>"
            for method, metric, reason in table.refusals
        )
        yield f"<h2>What does not fit</h2><ul>{lines}</ul>"


def _inline(data: bytes, kind: str = "png") -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
