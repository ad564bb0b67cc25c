"""Keeps operators whole that PyTorch would scatter into many small ones while tracing."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from camport.export import operators as operators
from camport.export.private_torch import ADAPTIVE_AVERAGE, without_function_modes

_ADAPTIVE_AVERAGE: dict[Any, int] = {
    F.adaptive_avg_pool1d: 1,
    F.adaptive_avg_pool2d: 2,
    F.adaptive_avg_pool3d: 3,
    **ADAPTIVE_AVERAGE,
}


class PreserveOperators(TorchFunctionMode):
    """While active, some calls record one operator where they would record many or awkward ones.

    - `interpolate`: PyTorch would turn it into four gathers, or into one operator that fixes the
      batch size; as `camport::resize` it becomes one Resize node.
    - `adaptive_avg_pool(x, 1)`: on channels-last activations it would record `as_strided`, which no
      exporter knows; the mean over space is the same.
    - `take_along_dim`: it would fix the batch's size; `gather` is the same where sizes agree or are
      1.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Called by PyTorch for every function of its public interface."""
        kwargs = kwargs or {}
        if func is F.interpolate:
            return _interpolate(*args, **kwargs)
        if func in (torch.take_along_dim, Tensor.take_along_dim):
            return _take_along_dim(*args, **kwargs)
        if func in _ADAPTIVE_AVERAGE:
            size = kwargs.get("output_size", args[1] if len(args) > 1 else None)
            if size in (1, (1,), [1], (1, 1), [1, 1], (1, 1, 1), [1, 1, 1]):
                images = kwargs.get("input", args[0] if args else None)
                return images.mean(tuple(range(-_ADAPTIVE_AVERAGE[func], 0)), keepdim=True)
        return func(*args, **kwargs)


def _take_along_dim(input: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    if dim is None:
        return input.flatten().gather(0, indices.flatten())
    dim %= input.dim()
    others = [
        m if isinstance(n, int) and n == 1 else n
        for n, m in zip(input.shape, indices.shape, strict=True)
    ]
    wide = [[*others[:dim], value.shape[dim], *others[dim + 1 :]] for value in (input, indices)]
    return input.expand(wide[0]).gather(dim, indices.expand(wide[1]))


def _interpolate(
    x: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """`torch.nn.functional.interpolate` as one operator;
    its rare variants as PyTorch records them."""
    axes = x.dim() - 2
    if antialias or mode == "area" or axes < 1:
        with without_function_modes():
            return F.interpolate(
                x,
                size,
                scale_factor,
                mode,
                align_corners,
                recompute_scale_factor,
                antialias=antialias,
            )
    if size is not None:
        target = list(size) if isinstance(size, (list, tuple, torch.Size)) else [size] * axes
        return torch.ops.camport.resize(x, target, mode, bool(align_corners), None)
    factors = [
        float(f)
        for f in (
            scale_factor if isinstance(scale_factor, (list, tuple)) else [scale_factor] * axes
        )
    ]
    target = [_scaled(n, f) for n, f in zip(x.shape[2:], factors, strict=True)]
    whole = all(f == int(f) for f in factors)
    return torch.ops.camport.resize(
        x, target, mode, bool(align_corners), None if whole or recompute_scale_factor else factors
    )


def _scaled(size: Any, factor: float) -> Any:
    """⌊size · factor⌋, symbolic where the size is."""
    return size * int(factor) if factor == int(factor) else torch.sym_int(size * factor)
