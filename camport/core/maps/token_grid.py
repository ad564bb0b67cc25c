"""Activations as [b,c,h,w], whatever their layout in the model: channels first or last, maps,
tokens or a signal."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from camport.core.maps.heatmap import Size
from camport.core.maps.widths import channel_axis, likelier_axis
from camport.errors import LayerError

Layout = Literal["nchw", "nhwc", "tokens", "signal"]
REMEDY = (
    "choose a layer that puts out [b,c,h,w], [b,h,w,c], or tokens [b,n,c] in the order of the"
    " image's rows (`camport layers` lists them)"
)
"""What to do about a layer that is no map."""

MAX_PREFIX = 16
"""More leading tokens than this (class, distillation, registers) are not believed to be a
prefix."""
FEW_PREFIXES = (1, 2, 4, 5)
"""What models have: a class token, one for distillation, four registers."""
STRIDES = (4, 8, 14, 16, 32, 64)
FEWEST = 9


@dataclass(frozen=True)
class Turn:
    """How maps are turned to lie on the image: mirrored first, then transposed.

    Attributes:
        transposed: height and width change places.
        rows: the first row of the layer's maps is the last.
        columns: likewise of its columns.
    """

    transposed: bool = False
    rows: bool = False
    columns: bool = False

    def to_image(self, maps: Tensor) -> Tensor:
        """Maps [...,h,w] of the layer as they lie on the image."""
        maps = maps.flip(self._axes()) if self._axes() else maps
        return maps.transpose(-2, -1) if self.transposed else maps

    def to_layer(self, maps: Tensor) -> Tensor:
        """The inverse."""
        maps = maps.transpose(-2, -1) if self.transposed else maps
        return maps.flip(self._axes()) if self._axes() else maps

    def _axes(self) -> list[int]:
        return [axis for axis, mirrored in ((-2, self.rows), (-1, self.columns)) if mirrored]


AS_IT_IS = Turn()


@dataclass(frozen=True)
class Grid:
    """How a layer's output lies on the image.

    Attributes:
        layout: where the channels are; "tokens" is [b, prefix + h*w + suffix, c], "signal" the same
            with channels first.
        prefix: leading tokens that lie nowhere on the image (class, distillation, register tokens).
        size: (h, w) of the tokens; None for the maps, whose shape says it.
        suffix: trailing tokens that lie nowhere on the image (what a detector asks with).
        turn: of a layer behind a flip, a quarter turn or a transposition of the image, what undoes
            it.
    """

    layout: Layout
    prefix: int = 0
    size: tuple[int, int] | None = None
    suffix: int = 0
    turn: Turn = AS_IT_IS

    def to_maps(self, activation: Tensor) -> Tensor:
        """The layer's output as [b,c,h,w] on the image, tokens that lie nowhere on it dropped."""
        return self.turn.to_image(self._to_maps(activation))

    def _to_maps(self, activation: Tensor) -> Tensor:
        if self.layout == "nchw":
            return activation
        if self.layout == "nhwc":
            return activation.permute(0, 3, 1, 2)
        assert self.size is not None
        signal = activation if self.layout == "signal" else activation.transpose(1, 2)
        places = signal[:, :, self.prefix : signal.shape[2] - self.suffix]
        return places.reshape(places.shape[0], places.shape[1], *self.size)

    def from_maps(self, maps: Tensor, activation: Tensor) -> Tensor:
        """The inverse: maps [n,c,h,w] as a layer's output,
        tokens that lie nowhere taken from `activation` [n,...]."""
        maps = self.turn.to_layer(maps)
        if self.layout == "nchw":
            return maps
        if self.layout == "nhwc":
            return maps.permute(0, 2, 3, 1)
        axis = 2 if self.layout == "signal" else 1
        places = maps.flatten(2) if self.layout == "signal" else maps.flatten(2).transpose(1, 2)
        if not (self.prefix or self.suffix):
            return places
        last = activation.shape[axis] - self.suffix
        before, behind = (
            activation.narrow(axis, 0, self.prefix),
            activation.narrow(axis, last, self.suffix),
        )
        return torch.cat([before, places, behind], axis)


def check_rows(name: str, output: Tensor, images: int, *rows: int) -> None:
    """LayerError where the first axis of a layer's output is not that of the images or of the
    target's rows."""
    if output.dim() < 2 or output.shape[0] in (images, *rows):
        return
    shape = tuple(output.shape)
    where = "its first axis is windows, views or something else"
    if output.dim() == 3 and shape[1] in (images, *rows):
        where = "its tokens come before its images"
    raise LayerError(
        f"layer {name!r} puts out {shape} for {images} images: {where}, not a row for each image; "
        f"{REMEDY}, b the images"
    )


def find_grid(
    activation: Tensor, image_size: Size, model: nn.Module, module: nn.Module, name: str
) -> Grid:
    """The likeliest layout of `activation`, the output of `module` called `name`,
    by its shape and the model.

    `camport.core.running.reading` compares it with how the output follows the image.

    Raises LayerError where the output is no map: not 3-D or 4-D, or tokens that fit no grid.
    """
    found = readings(activation, image_size, model, module)
    if found:
        return found[0]
    shape = tuple(activation.shape)
    if activation.dim() != 3:
        raise LayerError(
            f"layer {name!r} puts out {shape}, which is no map over the image; a target layer puts"
            " out [b,c,h,w], [b,h,w,c] or tokens [b,n,c] (`camport layers` lists them)"
        )
    raise LayerError(
        f"layer {name!r} puts out {shape[2 if channel_axis(module) == 1 else 1]} tokens, which fit"
        f" no grid over an image of {image_size[0]}x{image_size[1]}; give the adapter a grid, e.g."
        " ClassificationAdapter(patch_grid=(h, w))"
    )


def readings(
    activation: Tensor, image_size: Size, model: nn.Module, module: nn.Module
) -> list[Grid]:
    """The layouts that the shape of `activation` and the model allow, the likeliest first."""
    if activation.dim() == 4:
        last = likelier_axis(activation, image_size, model, module) == 3
        return [Grid("nhwc"), Grid("nchw")] if last else [Grid("nchw"), Grid("nhwc")]
    if activation.dim() != 3:
        return []
    layout, axis = _row(module)
    n, patch = activation.shape[axis], patch_size(model)
    sizes = list(_token_sizes(image_size, patch, n))
    if layout == "signal":
        if _along(module):
            return [Grid(layout, 0, (1, n)), Grid(layout, 0, (n, 1))]
        # a class token stands in front of tokens;
        # in front of a signal a patch embedding alone tells of one
        of_patches = patch and (image_size[0] // patch[0], image_size[1] // patch[1])
        sizes = [(size, prefix) for size, prefix in sizes if not prefix or size == of_patches]
    return list(dict.fromkeys(Grid(layout, prefix, size) for size, prefix in sizes))


def unlikely_readings(
    activation: Tensor, image_size: Size, model: nn.Module, module: nn.Module
) -> list[Grid]:
    """Layouts of a 3-D output that are believed only where the output follows the image: a row
    along it, channels before the places.
    """
    if activation.dim() != 3:
        return []
    known, found = channel_axis(module), list[Grid]()
    for layout, axis in (("tokens", 1), ("signal", 2)):
        if known == axis:
            continue  # it has the channels
        n = activation.shape[axis]
        sizes = _token_sizes(image_size, patch_size(model), n)
        found += [Grid(layout, prefix, size) for size, prefix in sizes]  # type: ignore[arg-type]
        found += [Grid(layout, 0, (1, n)), Grid(layout, 0, (n, 1))]  # type: ignore[arg-type]
    return list(dict.fromkeys(found))


def _along(module: nn.Module) -> bool:
    """Whether it convolves a signal [b,c,n] along its places,
    which rows of patches have no order for."""
    kernel: Any = getattr(module, "kernel_size", None)
    return (
        isinstance(module, nn.Conv1d | nn.ConvTranspose1d)
        and isinstance(kernel, tuple)
        and kernel[0] > 1
    )


def _row(module: nn.Module) -> tuple[Layout, int]:
    """Of a 3-D output: the layout, and the axis of the places."""
    return ("signal", 2) if channel_axis(module) == 1 else ("tokens", 1)


def _token_sizes(
    image_size: Size, patch: tuple[int, int] | None, tokens: int
) -> Iterator[tuple[tuple[int, int], int]]:
    """Grids that so many tokens may form, each with the tokens before it."""
    for (h, w), prefixes in _sizes(image_size, patch, tokens):
        prefix = tokens - h * w
        if h * w > 0 and prefix in prefixes:
            yield (h, w), prefix


def _sizes(
    image_size: Size, patch: tuple[int, int] | None, tokens: int
) -> Iterator[tuple[tuple[int, int], Sequence[int]]]:
    """Grids that tokens may form, the most likely first,
    each with the numbers of prefix tokens that are believed."""
    height, width = image_size
    # the patch embedding's, with its prefix tokens; then any stride that fits without remainder
    if patch:
        yield (height // patch[0], width // patch[1]), range(MAX_PREFIX + 1)
    if height == 1 or width == 1:  # of an image that is a line, tokens are one
        yield ((1, tokens) if height == 1 else (tokens, 1)), (0,)
    for s in STRIDES:
        yield (height // s, width // s), (0,)
    # patches that overlap, pooled tokens, images that were resized inside:
    # few cells would fit by chance
    for s in STRIDES:
        if (height // s) * (width // s) >= FEWEST:
            yield (height // s, width // s), FEW_PREFIXES
    for s in STRIDES:
        if -(-height // s) * -(-width // s) >= FEWEST:
            yield (-(-height // s), -(-width // s)), (0, *FEW_PREFIXES)
    if height == width:
        for side in range(3, max(3, height // 4)):
            yield (side, side), (0, 1)


def patch_size(model: nn.Module) -> tuple[int, int] | None:
    """Kernel of the first convolution that cuts the image into patches (kernel equals stride);
    of signals, 1 high."""
    for part in model.modules():
        # a convolution of an .onnx file is no nn.Conv2d, but tells the same about itself
        conv = isinstance(part, nn.Conv1d | nn.Conv2d) or type(part).__name__ == "Conv"
        stride: tuple[int, ...] = getattr(part, "stride", ()) if conv else ()
        if len(stride) in (1, 2) and part.kernel_size == stride and max(stride) > 1:
            return (1, *stride)[-2], stride[-1]
    return None
