"""The picture of growth: a panel an axis, measured points and fitted lines,
both axes logarithmic."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from camport.bench.growth import Series
from camport.files import write_atomic


def plot(series: Sequence[Series], file: Path) -> None:
    """Writes the picture, a PNG, whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import FormatStrFormatter, NullFormatter

    axes = list(dict.fromkeys(s.axis for s in series))
    rows = -(-len(axes) // 2)
    figure = Figure(figsize=(9, 3.4 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    for panel, axis in zip(figure.subplots(rows, 2, squeeze=False).flat, axes, strict=False):
        for s in (s for s in series if s.axis == axis):
            law = s.power
            (points,) = panel.loglog(
                s.sizes,
                [1e3 * t for t in s.seconds],
                "o",
                label=f"{s.name}: $n^{{{law.exponent:.2f}}}$",
            )
            line = [1e3 * law.factor * n**law.exponent for n in s.sizes]
            panel.loglog(s.sizes, line, "-", color=points.get_color(), linewidth=1)
        sizes = sorted({n for s in series if s.axis == axis for n in s.sizes})
        panel.set_xticks(sizes, labels=[f"{n}" for n in sizes])
        panel.set_xticks([], minor=True)
        panel.yaxis.set_major_formatter(FormatStrFormatter("%g"))
        panel.yaxis.set_minor_formatter(NullFormatter())
        panel.set(xlabel=axis, ylabel="ms")
        panel.legend(fontsize=8)
    for panel in figure.axes[len(axes) :]:
        panel.set_axis_off()
    write_atomic(file, lambda stream: figure.savefig(stream, format="png", dpi=110))
