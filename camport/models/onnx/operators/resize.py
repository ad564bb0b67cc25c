"""Resize and Upsample; torch's interpolation where it is the same, else a matrix an axis."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from camport.errors import ModelError
from camport.models.onnx.registry import operator
from camport.models.onnx.resampling import filter_matrix, nearest_places, source_coordinates
from camport.models.onnx.small import Ints, Small, optional_ints


@operator("Resize", since=11, static=("roi", "scales", "sizes"))
def resize(
    x: Tensor,
    roi: Any = None,
    scales: Any = None,
    sizes: Ints | None = None,
    *,
    antialias: int = 0,
    axes: list[int] | None = None,
    coordinate_transformation_mode: str = "half_pixel",
    cubic_coeff_a: float = -0.75,
    exclude_outside: int = 0,
    extrapolation_value: float = 0.0,
    keep_aspect_ratio_policy: str = "stretch",
    mode: str = "nearest",
    nearest_mode: str = "round_prefer_floor",
) -> Tensor:
    """x resampled to `sizes`, or by `scales`."""
    where = list(range(x.dim())) if axes is None else [a % x.dim() for a in axes]
    have = [x.shape[a] for a in where]
    factors, wanted = _numbers(scales), optional_ints(sizes) or []
    if factors:
        wanted = [_scaled(n, f) for n, f in zip(have, factors, strict=True)]
    elif keep_aspect_ratio_policy != "stretch":
        ratios = [w / n for w, n in zip(wanted, have, strict=True)]
        ratio = min(ratios) if keep_aspect_ratio_policy == "not_larger" else max(ratios)
        factors = [ratio] * len(wanted)
        wanted = [int(n * ratio + 0.5) for n in have]
    else:
        factors = [w / n for w, n in zip(wanted, have, strict=True)]
    plan = {
        a: (n, w, f)
        for a, n, w, f in zip(where, have, wanted, factors, strict=True)
        if not _same(n, w, f)
    }
    if not plan:
        return x
    kind = (mode, coordinate_transformation_mode, nearest_mode if mode == "nearest" else "")
    torch_mode = (
        None if antialias or exclude_outside else _torch_mode(kind, plan, x.dim(), cubic_coeff_a)
    )
    if torch_mode:
        size = [plan[a][1] if a in plan else x.shape[a] for a in range(2, x.dim())]
        corners = (
            None
            if torch_mode.startswith("nearest")
            else coordinate_transformation_mode == "align_corners"
        )
        return F.interpolate(x, size=size, mode=torch_mode, align_corners=corners)
    for axis, (n, w, factor) in plan.items():
        places = source_coordinates(w, n, factor, coordinate_transformation_mode, x.device)
        if mode == "nearest":
            simple = "ceil" if factor < 1 else "floor"
            rounding = simple if nearest_mode == "simple" else nearest_mode
            x = x.index_select(axis, nearest_places(places, rounding, n))
        else:
            matrix = filter_matrix(
                places, n, factor, mode, cubic_coeff_a, bool(antialias), bool(exclude_outside)
            )
            x = torch.matmul(x.movedim(axis, -1), matrix.to(x.dtype).t()).movedim(-1, axis)
    return x


@operator("Upsample", "Resize", static=("scales",))
def upsample(x: Tensor, scales: Any, *, mode: str = "nearest") -> Tensor:
    """Before opset 11: coordinates are output place over scale, rounded down for nearest,
    but up where it shrinks."""
    return resize(
        x,
        None,
        scales,
        mode=mode,
        coordinate_transformation_mode="asymmetric",
        nearest_mode="simple",
    )


def _torch_mode(
    kind: tuple[str, str, str], plan: dict[int, Any], rank: int, cubic: float
) -> str | None:
    """torch's name for this interpolation, None where it has none that is the same."""
    mode, coordinates, rounding = kind
    if not 3 <= rank <= 5 or min(plan) < 2:
        return None
    # scales that do not fit the sizes exactly move the coordinates; torch takes them from the sizes
    exact = all(_exact(n, w, f) for n, w, f in plan.values())
    if mode == "nearest":
        return "nearest" if exact and _floors(coordinates, rounding, plan) else None
    smooth = coordinates == "align_corners" or (exact and _half_pixel(coordinates, plan))
    if mode == "linear" and smooth:
        return {3: "linear", 4: "bilinear", 5: "trilinear"}[rank]
    return "bicubic" if mode == "cubic" and smooth and rank == 4 and cubic == -0.75 else None


def _floors(coordinates: str, rounding: str, plan: dict[int, Any]) -> bool:
    """Whether the nearest place is ⌊place / scale⌋: by definition,
    or because every factor is a whole number."""
    factors = [f for _, _, f in plan.values()]
    if coordinates == "asymmetric" and (
        rounding == "floor" or (rounding == "simple" and min(factors) >= 1)
    ):
        return True
    whole = all(isinstance(f, (int, float)) and f >= 1 and f == int(f) for f in factors)
    return (
        whole
        and coordinates in ("half_pixel", "pytorch_half_pixel")
        and rounding.startswith("round")
    )


def _half_pixel(coordinates: str, plan: dict[int, Any]) -> bool:
    if coordinates == "pytorch_half_pixel":
        return all(isinstance(w, int) and w > 1 for _, w, _ in plan.values())
    return coordinates == "half_pixel"


def _exact(n: Any, w: Any, factor: Any) -> bool:
    if isinstance(n, int) and isinstance(w, int):
        return bool(abs(n * factor - w) < 1e-4)
    return not isinstance(factor, (int, float)) or factor == int(factor)


def _same(n: Any, w: Any, factor: Any) -> bool:
    return (isinstance(factor, (int, float)) and factor == 1) or (
        isinstance(n, int) and isinstance(w, int) and n == w
    )


def _scaled(n: Any, factor: float) -> Any:
    if factor == int(factor):
        return n * int(factor)
    # scales are float32 in the file: 6 · 1.3333333 is meant to be 8
    return int(n * factor + 1e-4) if isinstance(n, int) else torch.sym_int(n * factor)


def _numbers(scales: Any) -> list[Any]:
    if isinstance(scales, Small):
        return scales.values
    if isinstance(scales, Tensor):
        raise ModelError(
            "the scales of a Resize are computed from the image's values, which is not imported"
        )
    return list(scales or ())
