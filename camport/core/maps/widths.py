"""Which axis of a layer's output has the channels,
by what modules know of their widths and by the image's aspect."""

from collections.abc import Iterator

from torch import Tensor, nn

from camport.core.maps.heatmap import Size

_FIRST = (
    nn.modules.conv._ConvNd,
    nn.modules.batchnorm._NormBase,
    nn.GroupNorm,
    nn.LocalResponseNorm,
    nn.modules.pooling._MaxPoolNd,
    nn.modules.pooling._AvgPoolNd,
    nn.modules.pooling._LPPoolNd,
    nn.modules.pooling._AdaptiveAvgPoolNd,
    nn.modules.pooling._AdaptiveMaxPoolNd,
    nn.Upsample,
    nn.PixelShuffle,
    nn.PixelUnshuffle,
)
"""Whose output has its channels on axis 1."""

_LAST = (nn.Linear, nn.LayerNorm, nn.RMSNorm)
"""Whose output has its channels on the last axis."""


def channel_axis(module: nn.Module) -> int | None:
    """The axis that has the channels of what a module puts out: 1, -1,
    or None where its kind does not say."""
    if isinstance(module, _FIRST) or _first_width(module) is not None:
        return 1 if not module._modules else None
    # others that derive from LayerNorm normalise maps with channels first,
    # those over several axes in either order
    over = getattr(module, "normalized_shape", (1,))
    return -1 if type(module) in _LAST and len(over) == 1 else None


def likelier_axis(activation: Tensor, image_size: Size, model: nn.Module, module: nn.Module) -> int:
    """The axis, 1 or 3, that has the channels of a 4-D output,
    by all that is known without running the model."""
    return 1 if evidence(activation, image_size, model, module) >= 0 else 3


def certain(activation: Tensor, image_size: Size, model: nn.Module, module: nn.Module) -> bool:
    """Whether nothing speaks against channels on axis 1 of a 4-D output, and something for it."""
    _, p, q, r = activation.shape
    if not _fits((q, r), image_size):
        return False
    if channel_axis(module) == 1:
        return True
    inside = _widths(module)
    widths = inside or _widths(model)
    return p in widths and r not in widths and (bool(inside) or not _fits((p, q), image_size))


def evidence(activation: Tensor, image_size: Size, model: nn.Module, module: nn.Module) -> int:
    """Positive where channels are on axis 1 of a 4-D output, negative on axis 3,
    0 where nothing decides.

    In this order: the module's kind, the widths of the modules within, the image's aspect,
    the widths of all modules.
    """
    _, p, q, r = activation.shape
    axis = channel_axis(module)
    if axis is not None:
        return axis
    inside, every = _widths(module), _widths(model)
    height, width = image_size
    # how far both readings are from the image's aspect, |h W - w H| / (w H)
    as_last, as_first = r * abs(p * width - q * height), q * abs(q * width - r * height)
    for first, last in (
        (p in inside, r in inside),
        (_fits((q, r), image_size), _fits((p, q), image_size)),
        (p in every, r in every),
        (as_last > as_first, as_last < as_first),
    ):
        if first != last:
            return 1 if first else -1
    return 0


def _widths(module: nn.Module) -> set[int]:
    """The numbers of channels that the modules within put out."""
    return {width for part in module.modules() for width in _known(part)}


def _known(part: nn.Module) -> Iterator[int]:
    first = _first_width(part)
    if first is not None:
        yield first
    last = getattr(part, "out_features", None)
    if isinstance(last, int):
        yield last
    shape = getattr(part, "normalized_shape", None)
    if isinstance(shape, tuple) and len(shape) == 1:
        yield shape[0]


def _first_width(part: nn.Module) -> int | None:
    """What convolutions and normalisations over axis 1 tell, those of an .onnx file too."""
    found = getattr(
        part, "out_channels", getattr(part, "num_features", getattr(part, "num_channels", None))
    )
    return found if isinstance(found, int) else None


def _fits(size: tuple[int, int], image_size: Size) -> bool:
    """Whether maps of this size have the image's aspect, but for rounding by one place."""
    (h, w), (height, width) = size, image_size
    # strides between H/(h+1) and H/(h-1), and between W/(w+1) and W/(w-1), have some in common
    return bool(height * (w - 1) < width * (h + 1) and width * (h - 1) < height * (w + 1))
