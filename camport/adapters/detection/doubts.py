"""What is doubtful of an explained box."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor

from camport.adapters.detection.formats import Form


def doubts(
    form: Form | None, score_as: str, target: Mapping[str, Tensor], method: str
) -> Iterator[str]:
    """A table that may be read otherwise, boxes that no candidate matches well, and a method that
    cannot tell objects apart.
    """
    if form and form.rival:
        kinds = {
            "rows": "classes alone behind the box",
            "yolov5": "an objectness, then classes",
        }
        yield (
            f"columns of the detector's table are read as {kinds[form.format]}"
            f" ({form.format!r}), and may be {kinds[form.rival]}:"
            f" DetectionAdapter(format={form.rival!r}), on the command line --format"
            f" {form.rival}; classes={form.classes} confirms it"
        )
    weak = (target["iou"] < 0.5).nonzero()[:, 0]
    if len(weak):
        i = int(weak[0])
        yield (
            f"box {i} matches no candidate well: the best, number {int(target['index'][i])},"
            f" overlaps it by an IoU of {float(target['iou'][i]):.2f}, and that one is"
            " explained"
        )
    if method in ("gradcam", "gradcam++", "xgradcam") and score_as != "class_sum":
        yield (
            f"{method} averages gradients over all places, so its map cannot tell the asked"
            " object from others of its kind; odam, layercam and hirescam can"
        )
