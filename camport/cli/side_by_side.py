"""`camport explain` by several methods: a picture or a report with a column for each,
a row for each class."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL.Image import Image

from camport.cli.figure import legend, named_class
from camport.cli.printing import say, tell
from camport.cli.rows import Row, rows
from camport.cli.shown import bounded, scaled
from camport.errors import LayerError, MethodError, OutputError
from camport.view import Map, Shown, map_grid, pictured, save_image, save_report
from camport.view.shown import titled

if TYPE_CHECKING:
    from camport.cli.work import Work
    from camport.core.bound import Bound
    from camport.core.explanation import Explanation

REPORT = ".html"
FORMATS = (REPORT, ".png", ".jpg", ".jpeg")


def check_format(path: Path) -> None:
    """Refuses what several methods are not written as."""
    if path.suffix.lower() not in FORMATS:
        raise OutputError(
            f"{path}: several methods are drawn; what can be written is {', '.join(FORMATS)}"
        )


def explain(work: Work, path: Path, images: Sequence[Path], pictures: Iterable[Image]) -> None:
    """Explains each image by each method for each thing that is asked of it, and writes the picture
    or the report.

    Where the methods are all there are, those that do not fit the model are left out, with the
    reason.
    """
    from camport.core.describe import titles_of

    names = titles_of([one.explainer for one in work.bound])
    found: list[Shown] = []
    left_out: dict[str, str] = {}
    for place, (image, picture) in enumerate(zip(images, pictures, strict=True)):
        pixels, placement = work.loaded.preprocess.apply(picture)
        first = _fitting(work, left_out)
        asked = rows(work, first, picture, pixels, placement)
        shown, placement = bounded(picture, placement)
        maps = []
        total = len(images) * len(asked) * len(work.bound)
        done = place * len(asked) * len(work.bound)
        for row in asked:
            marks = [scaled(mark, shown.width / picture.width) for mark in row.marks]
            for method, one in zip(names, work.bound, strict=True):
                done += 1
                work.progress(done, total)
                if one.explainer.name in left_out:
                    continue
                try:
                    e = one(work.batch(pixels), row.target)
                except (MethodError, LayerError) as error:
                    if not work.every:
                        raise
                    left_out[one.explainer.name] = str(error)
                    continue
                asked_for, facts = _named(work, row, e)
                text = ", ".join(
                    part for part in (asked_for, f"score {float(e.score[0]):.2f}") if part
                )
                heat = pictured(placement.to_image(e.heatmap[0].numpy(force=True)), e.family)
                maps.append(Map(heat, method, asked_for, text, marks))
                told = f"{one.explainer.name}, {text}"
                tell(image, told, path, method=one.explainer.name, layers=one.layers, **facts)
        found.append(Shown(shown, maps, image.name, placement.seen))
    for name, why in left_out.items():
        say(f"camport: note: {name} is left out: {why}", err=True)
    used = [i for i, one in enumerate(work.bound) if one.explainer.name not in left_out]
    title = titled([names[i] for i in used], [work.bound[i].layers or () for i in used], work.model)
    drawn: dict[str, Any] = {"title": title, "colormap": work.colormap, "alpha": work.alpha}
    if path.suffix.lower() == REPORT:
        save_report(path, found, **drawn)
    else:
        save_image(path, map_grid(found, **drawn))
    say(f"wrote {path}")


def _fitting(work: Work, left_out: Mapping[str, str]) -> Bound:
    """The first method that is not left out: it finds what nobody named."""
    return next((one for one in work.bound if one.explainer.name not in left_out), work.bound[0])


def _named(work: Work, row: Row, explanation: Explanation) -> tuple[str, dict[str, Any]]:
    """What was explained, in words and as facts; a class that nobody named is told by the
    explanation."""
    score = float(explanation.score[0])
    if row.text:
        return row.text, {"asked": row.text, "score": score}
    index = int(explanation.target[0]) if explanation.target.dim() == 1 else None
    known = named_class(index, work.loaded.labels)
    return legend(index, None, work.loaded.labels), {**known, "score": score}
