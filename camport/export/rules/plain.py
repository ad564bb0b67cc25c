"""The rules for formats that PyTorch itself runs: what ONNX has better forms for,
in ATen's own operators."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from camport.errors import ExportError
from camport.export.operators.registry import MEANINGS
from camport.export.rules.convolution import interleave
from camport.export.rules.pooling import plain_max_pool_grad
from camport.export.rules.registry import RULES

aten = torch.ops.aten
own = torch.ops.camport

_RESIZE: dict[str, Any] = {
    "linear": aten.upsample_linear1d.default,
    "bilinear": aten.upsample_bilinear2d.default,
    "trilinear": aten.upsample_trilinear3d.default,
    "bicubic": aten.upsample_bicubic2d.default,
}
_NEAREST: dict[tuple[str, int], Any] = {
    ("nearest", 1): aten.upsample_nearest1d.default,
    ("nearest", 2): aten.upsample_nearest2d.default,
    ("nearest", 3): aten.upsample_nearest3d.default,
    ("nearest-exact", 1): aten._upsample_nearest_exact1d.default,
    ("nearest-exact", 2): aten._upsample_nearest_exact2d.default,
    ("nearest-exact", 3): aten._upsample_nearest_exact3d.default,
}


def resize(
    x: Tensor, size: Sequence[Any], mode: str, align: bool, scales: Sequence[float] | None = None
) -> Tensor:
    """The operator that `torch.nn.functional.interpolate` ends in."""
    factors = [None] * len(size) if scales is None else list(scales)
    if mode in _RESIZE:
        return _RESIZE[mode](x, list(size), align, *factors)
    if (mode, len(size)) in _NEAREST:
        return _NEAREST[mode, len(size)](x, list(size), *factors)
    raise ExportError(f"no ATen operator resizes {len(size)} axes by {mode!r}")


def fill(x: Tensor, value: Any) -> Tensor:
    """`aten.fill`, on which torch.jit.trace fails, as on `aten.zero`."""
    return torch.full_like(x, value)


PLAIN_RULES: dict[Any, Callable[..., Any]] = {
    **RULES,
    **MEANINGS,
    own.max_pool_grad.default: plain_max_pool_grad,
    own.zero_insert.default: interleave,
    own.resize.default: resize,
    aten.fill.Scalar: fill,
    aten.zero.default: torch.zeros_like,
}
"""As `RULES`, without an operator of our own in the result."""
