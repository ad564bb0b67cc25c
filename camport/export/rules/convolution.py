"""Gradients of convolutions with respect to their input, any rank, stride, padding,
dilation and groups.

y[o] = Σ w[k] x[s·o + d·k - p] has the input gradient x̄[i] = Σ w[k] ḡ[i + p - d·k], ḡ being the
output gradient with s - 1 zeros put between its elements. That is a stride-1 convolution of ḡ with
the flipped, transposed weights and padding d(k-1) - p. ONNX Runtime's transposed convolution
computes the same but slower, except for dense strided kernels, where three quarters of the
multiplications would be with inserted zeros; there a convolution for each remainder of i by s, of
the taps that meet no zero, is the fastest.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from camport.errors import ExportError
from camport.export import operators as operators
from camport.export.rules.geometry import is_static, per_axis
from camport.export.rules.registry import lowers

aten = torch.ops.aten


@lowers("convolution_backward.default")
def convolution_backward(
    gradient: Tensor,
    x: Tensor,
    weight: Tensor,
    bias_sizes: Sequence[int] | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
    mask: Sequence[bool],
) -> tuple[Tensor | None, None, None]:
    """See the module's equation; gradients with respect to weights do not belong into an
    explanation."""
    if mask[1] or mask[2]:
        raise ExportError(
            "the program differentiates with respect to a convolution's weights; detach them"
        )
    if not mask[0]:
        return None, None, None
    axes = gradient.dim() - 2
    s, p, d = (per_axis(value, axes) for value in (stride, padding, dilation))
    if transposed:
        return _convolve(gradient, weight, s, p, d, groups), None, None
    return input_gradient(gradient, x.shape[2:], weight, s, p, d, groups), None, None


def input_gradient(
    g: Tensor,
    size: Sequence[Any],
    weight: Tensor,
    s: list[int],
    p: list[int],
    d: list[int],
    groups: int,
) -> Tensor:
    """The gradient with respect to an input of spatial `size`."""
    axes = len(s)
    kernel = list(weight.shape[2:])
    one = [1] * axes
    full = [d[i] * (kernel[i] - 1) - p[i] for i in range(axes)]
    spread = [size[i] + p[i] - full[i] for i in range(axes)]  # the extent of ḡ
    if all(n == 1 for n in s):
        return _convolve_cropped(g, transposed_weight(weight, groups), full, d, groups)
    if all(k == 1 for k in kernel) and not any(p):  # multiply first: the zeros come for free
        return zero_insert(
            _convolve(g, transposed_weight(weight, groups), one, p, one, groups), s, spread
        )
    if groups == 1 and _has_phases(g, size, weight, s, d):
        return _by_phases(g, size, transposed_weight(weight, 1), s[0], p)
    if groups > 1:
        return _convolve_cropped(
            zero_insert(g, s, spread), transposed_weight(weight, groups), full, d, groups
        )
    return _transposed(g, size, weight, s, p, d, groups)


def transposed_weight(weight: Tensor, groups: int) -> Tensor:
    """w'[c, o, k] = w[o, c, K-1-k] within each group."""
    kernel = weight.shape[2:]
    if any(k != 1 for k in kernel):
        weight = weight.flip(list(range(2, weight.dim())))
    if groups == 1:
        return weight.transpose(0, 1)
    out, within = weight.shape[:2]
    if within == 1 and out == groups:
        return weight
    weight = weight.reshape(groups, out // groups, within, *kernel).transpose(1, 2)
    return weight.reshape(groups * within, out // groups, *kernel)


def _has_phases(g: Tensor, size: Sequence[Any], weight: Tensor, s: list[int], d: list[int]) -> bool:
    """Whether `_by_phases` can do it and is the faster: with few channels, as an image has,
    it is not."""
    static = len(s) == 2 and is_static(*size, *g.shape[2:])
    fits = (
        static
        and s[0] == s[1] <= 3
        and all(n == 1 for n in d)
        and all(k >= s[0] for k in weight.shape[2:])
    )
    return fits and weight.shape[1] >= 8


def _by_phases(g: Tensor, size: Sequence[int], weight: Tensor, s: int, p: list[int]) -> Tensor:
    """x̄[s·m + r] = Σ_t w[k₀ + s·t] g[m + q - t], with k₀ = (r + p) mod s and q = (r + p) div s:
    for each remainder r of the place a small convolution of g without inserted zeros; pixel
    shuffling puts their results in place.

    `weight` is flipped and transposed already.
    """
    cells = [-(-n // s) for n in size]
    phases = []
    for rows in range(s):
        for columns in range(s):
            taps: list[slice] = []
            pads: list[int] = []
            for axis, r in enumerate((rows, columns)):
                length, (q, first) = weight.shape[2 + axis], divmod(r + p[axis], s)
                count = (length - first - 1) // s + 1
                begin = length - 1 - first - s * (count - 1)
                taps.append(slice(begin, None, s))
                pads = [count - 1 - q, cells[axis] - g.shape[2 + axis] + q, *pads]
            padded = F.pad(g, pads) if any(pads) else g
            phases.append(
                _convolve(padded, weight[:, :, taps[0], taps[1]], [1, 1], [0, 0], [1, 1], 1)
            )
    stacked = torch.stack(phases, 2).flatten(1, 2)
    return fit(F.pixel_shuffle(stacked, s), size)


def zero_insert(g: Tensor, s: list[int], size: Sequence[Any]) -> Tensor:
    """g with s - 1 zeros between its elements, cut or padded to `size`."""
    if g.dim() == 4 and is_static(*g.shape[2:], *size):
        return torch.ops.camport.zero_insert(g, s, list(size))
    return interleave(g, s, size)


def interleave(g: Tensor, s: Sequence[int], size: Sequence[Any]) -> Tensor:
    """`zero_insert` by padding a new axis behind each."""
    axes = len(s)
    spatial = g.shape[2:]
    interleaved = [n for m in spatial for n in (m, 1)]
    pads = [n for i in reversed(range(axes)) for n in (0, s[i] - 1, 0, 0)]
    z = F.pad(g.reshape(*g.shape[:2], *interleaved), pads)
    z = z.reshape(*g.shape[:2], *(m * n for m, n in zip(spatial, s, strict=True)))
    return fit(z, size)


def fit(z: Tensor, size: Sequence[Any]) -> Tensor:
    """Cuts or zero-pads the end of each spatial axis to `size`,
    which is at most a stride longer."""
    missing = [n - m for n, m in zip(size, z.shape[2:], strict=True)]
    if is_static(*missing):
        return F.pad(z, [n for m in reversed(missing) for n in (0, m)]) if any(missing) else z
    for axis, n in enumerate(size):
        extra = z.new_zeros(()).expand(*z.shape[: 2 + axis], n, *z.shape[3 + axis :])
        z = torch.cat([z, extra], 2 + axis).narrow(2 + axis, 0, n)
    return z


def _convolve(
    g: Tensor, weight: Tensor, s: list[int], p: list[int], d: list[int], groups: int
) -> Tensor:
    return aten.convolution.default(g, weight, None, s, p, d, False, [0] * len(s), groups)


def _convolve_cropped(g: Tensor, weight: Tensor, p: list[int], d: list[int], groups: int) -> Tensor:
    """A stride-1 convolution whose padding may be negative, that is, a crop."""
    if any(n < 0 for n in p):
        g = F.pad(g, [m for n in reversed(p) for m in (min(n, 0), min(n, 0))])
        p = [max(n, 0) for n in p]
    return _convolve(g, weight, [1] * len(p), p, d, groups)


def _transposed(
    g: Tensor,
    size: Sequence[Any],
    weight: Tensor,
    s: list[int],
    p: list[int],
    d: list[int],
    groups: int,
) -> Tensor:
    """A transposed convolution; where the remainder of the stride is not known,
    the longest one and a crop."""
    axes = len(s)
    kernel = weight.shape[2:]
    rest = [(size[i] + 2 * p[i] - d[i] * (kernel[i] - 1) - 1) % s[i] for i in range(axes)]
    if is_static(*rest):
        return aten.convolution.default(g, weight, None, s, p, d, True, rest, groups)
    longest = [n - 1 for n in s]
    result = aten.convolution.default(g, weight, None, s, p, d, True, longest, groups)
    for axis in range(axes):
        result = result.narrow(2 + axis, 0, size[axis])
    return result
