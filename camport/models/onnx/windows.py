"""Sliding windows: strides, paddings and output sizes of convolution and pooling."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Window:
    """A sliding window over the trailing axes.

    Attributes:
        kernel: size of the window.
        stride: step of the window.
        dilation: distance of its elements.
        before: padding before each axis.
        after: padding behind each axis.
    """

    kernel: tuple[Any, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    before: tuple[Any, ...]
    after: tuple[Any, ...]

    @property
    def even(self) -> bool:
        """Whether every axis has the same padding on both sides."""
        return self.before == self.after

    @property
    def pads(self) -> list[Any]:
        """Paddings as `F.pad` wants them: last axis first."""
        pairs = zip(reversed(self.before), reversed(self.after), strict=True)
        return [n for pair in pairs for n in pair]


def window(
    size: Sequence[Any],
    kernel: Sequence[int],
    strides: Sequence[int] | None,
    dilations: Sequence[int] | None,
    pads: Sequence[int] | None,
    auto_pad: str,
) -> Window:
    """The window over axes of `size`, `auto_pad` resolved.

    ONNX gives pads as all beginnings, then all ends. SAME_UPPER and SAME_LOWER pad so that the
    output has ceil(size / stride) elements; an odd one more lies at the end or at the beginning.
    """
    axes = len(kernel)
    stride, dilation = tuple(strides or (1,) * axes), tuple(dilations or (1,) * axes)
    before, after = (0,) * axes, (0,) * axes
    if auto_pad in ("NOTSET", "") and pads:
        before, after = tuple(pads[:axes]), tuple(pads[axes:])
    elif auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        pairs = [
            _same(n, k, s, d, auto_pad == "SAME_LOWER")
            for n, k, s, d in zip(size, kernel, stride, dilation, strict=True)
        ]
        before, after = tuple(p for p, _ in pairs), tuple(p for _, p in pairs)
    return Window(tuple(kernel), stride, dilation, before, after)


def _same(size: Any, kernel: int, stride: int, dilation: int, lower: bool) -> tuple[Any, Any]:
    reach = dilation * (kernel - 1) + 1
    # of two symbols max() would ask which one is larger; sizes are mostly numbers
    total = max((-(-size // stride) - 1) * stride + reach - size, 0)
    small = total // 2
    return (total - small, small) if lower else (small, total - small)
