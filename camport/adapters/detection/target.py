"""What a user may ask of a detector, as tensors."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from camport.errors import InputError

FORMS = 'None, {"boxes": [b,4], "class_ids": [b]} or {"index": [b]}'


def prepared(target: Any, images: Float[Tensor, "b c H W"]) -> dict[str, Tensor]:
    """Boxes [r,4], classes [r] and, where candidates are named by number, their indices [r].

    r is the number of images, or any number of questions about one image. None asks about each
    image's best
    detection: a box of no area and any class.

    Raises:
        InputError: neither of the forms, a number of rows that does not fit, a box outside the
            image or of no area.
    """
    b, device = images.shape[0], images.device
    if target is None:
        return {
            "boxes": torch.zeros(b, 4, device=device),
            "class_ids": torch.full((b,), -1, dtype=torch.int64, device=device),
        }
    if not isinstance(target, Mapping):
        raise InputError(f"target is {_shown(target)}; a detection is asked about by {FORMS}")
    unknown = [name for name in target if name not in ("boxes", "class_ids", "index")]
    if unknown or not ("boxes" in target or "index" in target):
        raise InputError(
            f"target has {', '.join(map(repr, target)) or 'nothing'}; a detection is asked about by"
            f" {FORMS}"
        )
    asked: dict[str, Tensor] = {}
    if "index" in target:
        asked["index"] = _whole("index", target["index"], device)
        if bool((asked["index"] < 0).any()):
            raise InputError(f"index is {asked['index'].tolist()}; candidates are numbered from 0")
    if "boxes" in target:
        asked["boxes"] = _boxes(target["boxes"], images)
    rows = max(v.shape[0] for v in asked.values())
    classes = target.get("class_ids")
    asked["class_ids"] = _whole("class_ids", -1 if classes is None else classes, device)
    if bool((asked["class_ids"] < -1).any()):
        raise InputError(
            f"class_ids are {asked['class_ids'].tolist()}; classes are 0 and up, -1 is any class"
        )
    rows = max(rows, asked["class_ids"].shape[0], b)
    asked.setdefault("boxes", torch.zeros(1, 4, device=device))
    for name, value in asked.items():
        if value.shape[0] not in (1, rows):
            raise InputError(
                f"{name} has {value.shape[0]} rows, wanted {rows}: one for each image, or for each"
                " question"
            )
        asked[name] = value.expand(rows, *value.shape[1:]).clone()
    if rows != b and b != 1:
        raise InputError(
            f"{rows} questions for {b} images; give one for each image, or ask about one image at a"
            " time"
        )
    return asked


def _boxes(value: Any, images: Tensor) -> Tensor:
    """Boxes [r,4] inside the image; what stands out by less than a pixel is cut off."""
    try:
        boxes = torch.as_tensor(value, dtype=torch.float32, device=images.device)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"boxes {_shown(value)} are no numbers; give [b,4]: left, top, right, bottom"
        ) from error
    boxes = boxes[None] if boxes.dim() == 1 else boxes
    if boxes.dim() != 2 or boxes.shape[1] != 4 or not boxes.shape[0]:
        raise InputError(
            f"boxes have shape {tuple(boxes.shape)}; wanted [b,4]: left, top, right, bottom in"
            " pixels"
        )
    if not bool(boxes.isfinite().all()):
        raise InputError("boxes have values that are NaN or infinite")
    height, width = images.shape[-2:]
    for box in boxes.tolist():
        left, top, right, bottom = box
        shown = ", ".join(f"{v:g}" for v in box)
        if right <= left or bottom <= top:
            raise InputError(
                f"box ({shown}) has no area; wanted left < right and top < bottom, in pixels"
            )
        if right <= 0 or bottom <= 0 or left >= width or top >= height:
            raise InputError(
                f"box ({shown}) lies outside the image, which is {width} wide and {height} high"
            )
    return boxes


def _whole(name: str, value: Any, device: torch.device) -> Tensor:
    try:
        numbers = torch.as_tensor(value, device=device)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{name} {_shown(value)} are no numbers; give int64 [b]") from error
    if numbers.is_floating_point() or numbers.is_complex() or numbers.dtype == torch.bool:
        raise InputError(
            f"{name} has dtype {str(numbers.dtype).removeprefix('torch.')}; wanted int64 [b]"
        )
    if numbers.dim() > 1 or not numbers.numel():
        raise InputError(f"{name} has shape {tuple(numbers.shape)}; wanted one number, or [b]")
    return numbers.to(torch.int64).reshape(-1)


def _shown(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor {tuple(value.shape)}"
    text = repr(value)
    return text if len(text) < 60 else type(value).__name__
