"""Which form a detector's outputs have: told from their structure and the model's own numbers,
never from its name."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from camport.adapters.detection.formats import FORMATS, Form, logits_beside, part, raw_maps, table
from camport.adapters.detection.joins import has_objectness
from camport.adapters.detection.odd_tables import check_joined, check_table
from camport.adapters.detection.rotated import angle_column
from camport.adapters.detection.torchvision_one_stage import has_background
from camport.adapters.detection.torchvision_two_stage import is_two_stage
from camport.adapters.reading import described
from camport.errors import InputError, ModelError, UnknownNameError

FEW = 1000
"""More rows than this are no end-to-end detector's final choice."""

SAME = 1e-2
"""How far probabilities may be from those of logits that they are made of, in half precision."""

UNSURE = 0.1
"""No detector is that sure of any class in most cells, unless it says so of objects alone."""

STRIDES = ((8, 16, 32), (8, 16, 32, 64), (16, 32))


def recognised(
    outputs: Any,
    model: nn.Module,
    size: tuple[int, int],
    format: str | None,
    classes: int | None,
    joins: frozenset[tuple[int, ...]] = frozenset(),
) -> Form:
    """The form of `outputs`, for images of `size`.

    Args:
        outputs: of one image; their values are looked at, so this is not for tracing.
        model: may know its number of classes.
        size: (height, width) of the images.
        format: the user's word for it, a name in FORMATS.
        classes: the user's word for the number of classes.
        joins: sizes of the parts of which tensors were put together as the model ran
            (`detection/joins.py`).

    Raises:
        ModelError: no form, or several are possible; the message says which `format=` settles it.
        UnknownNameError: no such format.
    """
    if format is not None and format not in FORMATS:
        raise UnknownNameError("format", format, FORMATS)
    if format is None:
        format = _named(outputs)
    if format == "detr":
        return _detr(outputs, model, classes)
    if format == "candidates":
        second = is_two_stage(model)
        return Form(
            "candidates",
            classes,
            background=0 if second or has_background(model) else None,
            asked=second,
        )
    found = table(outputs)
    check_joined(outputs, found)
    known = classes if classes is not None else _known_classes(model)
    rival = None
    if format is None:
        format, rival = _of_table(outputs, found, size, known, joins)
    columns = (
        found.shape[1] - 4
        if format == "yolov8"
        else found.shape[2] - (5 if format == "yolov5" else 4)
    )
    if format == "end2end":
        if found.shape[2] < 6:
            raise ModelError(
                f"{described(outputs)} has {found.shape[2]} columns; the form end2end has 6"
            )
        return Form(format, relative=_in_unit(found), angle=angle_column(found, format, None))
    k = columns - _mask_channels(outputs) if known is None or known > columns else known
    if classes is not None and classes > columns:
        raise InputError(
            f"classes is {classes}; {described(outputs)} has room for {columns} in the form"
            f" {format}"
        )
    if k < 1:
        raise ModelError(
            f"{described(outputs)} has no class columns in the form {format}; see format= and"
            " classes="
        )
    beside = _same_logits(outputs, found, k) if format == "yolov8" else None
    angle = angle_column(found, format, known)
    relative = format == "rows" and _in_unit(found)
    form = Form(format, k, relative=relative, angle=angle, beside=beside, rival=rival)
    check_table(outputs, found, form, size)
    return form


def _same_logits(outputs: Any, found: Tensor, k: int) -> int | None:
    """Which logits beside a table are those of its probabilities."""
    candidates = logits_beside(outputs, k, found.shape[2])
    errors = [float((v.sigmoid() - found[:, 4 : 4 + k]).abs().max()) for v in candidates]
    best = min(range(len(errors)), key=errors.__getitem__, default=None)
    return best if best is not None and errors[best] <= SAME else None


def _in_unit(found: Tensor) -> bool:
    """Whether boxes are relative to the image:
    no detector's boxes in pixels all end within two of them."""
    return float(found[:, :, :4].max()) <= 2


def _named(outputs: Any) -> str | None:
    """Forms that have their parts named."""
    if part(outputs, "pred_boxes") is not None:
        return "detr"
    named = all(
        isinstance(part(outputs, name), Tensor) for name in ("boxes", "logits", "confidence")
    )
    return "candidates" if named else None


def _of_table(
    outputs: Any,
    found: Tensor,
    size: tuple[int, int],
    known: int | None,
    joins: frozenset[tuple[int, ...]],
) -> tuple[str, str | None]:
    """The form of a table, told from what stands beside it, from the number of rows, or that of
    columns; and the one that it may have as well.
    """
    _, p, q = found.shape
    if raw_maps(outputs, q):
        return "yolov5", None
    if q >= 6 and p <= FEW and _is_final(found):
        return "end2end", None
    if known is not None and p >= 4 + known and logits_beside(outputs, known, q):
        return "yolov8", None
    cells = [_cells(size, strides) for strides in STRIDES]
    if q in cells:
        if known != p - 4 and has_objectness(joins, p):
            raise ModelError(
                f"the model returned {described(outputs)}: a table [b,5+k,n] with an objectness,"
                " which is not read; wrap the model so that it returns table.transpose(1, 2), the"
                " form yolov5"
            )
        return "yolov8", None
    if p in [3 * c for c in cells]:
        return "yolov5", None
    if p in cells:
        return _of_rows(found, q - _mask_channels(outputs), known, joins)
    if known is not None:
        fitting = {"yolov8": p == 4 + known, "yolov5": q == 5 + known, "rows": q == 4 + known}
        if sum(fitting.values()) == 1:
            return next(name for name, fits in fitting.items() if fits), None
    if q > p > 4:
        return "yolov8", None
    listed = "; ".join(
        f"format={name!r} is {meaning}" for name, meaning in FORMATS.items() if name in _TABLES
    )
    raise ModelError(
        f"the model returned {described(outputs)}, which may be one of several forms; say which:"
        f" {listed}. On the command line --format"
    )


def _of_rows(
    found: Tensor, columns: int, known: int | None, joins: frozenset[tuple[int, ...]]
) -> tuple[str, str | None]:
    """The form of a table with a row a cell, and the one that it may have as well.

    YOLOX and YOLOv6 (the authors' own) have an objectness where others have their first class.
    """
    if columns == 5 or known == columns - 4:
        return "rows", None
    separate = has_objectness(joins, columns)
    objectness = found[:, :, 4]
    if known == columns - 5 or separate or bool((objectness == 1).all()):
        return "yolov5", None
    if known is not None:
        return "rows", None
    # of an empty cell the objectness is next to 0, and what it would be if it were an object is not
    likely = found[:, :, 5:].amax(2).median()
    apart = bool(likely > UNSURE) and bool(objectness.median() < likely / 2)
    # one layer has made all behind the box, objectness and classes alike where there is one
    if separate is False:
        return "rows", "yolov5" if apart else None
    return ("yolov5", "rows") if apart else ("rows", "yolov5")


_TABLES = ("yolov5", "yolov8", "rows", "end2end")


def _is_final(found: Tensor) -> bool:
    """Whether rows may be (box, score, class): scores in [0,1] and whole numbers behind them."""
    scores, labels = found[:, :, 4], found[:, :, 5]
    return bool(((scores >= 0) & (scores <= 1) & (labels == labels.round()) & (labels >= 0)).all())


def _cells(size: tuple[int, int], strides: tuple[int, ...]) -> int:
    """How many cells the levels of a pyramid have together."""
    return sum(-(-size[0] // stride) * -(-size[1] // stride) for stride in strides)


def _known_classes(model: nn.Module) -> int | None:
    """The number of classes that the model's last module that knows it tells."""
    for module in reversed(list(model.modules())):
        count = getattr(module, "nc", getattr(module, "num_classes", None))
        if isinstance(count, int) and not isinstance(count, bool) and count > 0:
            return count
    return None


def _mask_channels(outputs: Any) -> int:
    """Mask coefficients a candidate: as many as the prototypes [b,m,h,w] beside the table have
    channels."""
    leaves = [
        v
        for v in torch.utils._pytree.tree_leaves(outputs)
        if isinstance(v, Tensor) and v.dim() == 4
    ]
    return int(leaves[-1].shape[1]) if len(leaves) == 1 else 0


def _detr(outputs: Any, model: nn.Module, classes: int | None) -> Form:
    queries = part(outputs, "pred_boxes").shape[1]
    if part(outputs, "logits") is None:
        return Form("detr", softmax=True, queries=queries)  # pred_logits: the authors' own program
    columns = part(outputs, "logits").shape[2]
    known = (
        classes
        if classes is not None
        else getattr(getattr(model, "config", None), "num_labels", None)
    )
    if known not in (columns, columns - 1):
        raise ModelError(
            f"the model returned {columns} logits a candidate, and whether the last one means 'no"
            f" object' is not told; give the adapter classes={columns - 1} if so, classes={columns}"
            " if not"
        )
    return Form("detr", softmax=known == columns - 1, queries=queries)
