"""Running a float32 program in float64, to have a reference that rounds 10⁹ times finer."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from camport.export.capture.capture import Function
from camport.export.capture.loops import LOOP, exact_loop
from camport.export.private_torch import TorchDispatchMode, tree_leaves, tree_map

aten = torch.ops.aten

_WIDER: dict[Any, Any] = {torch.float32: torch.float64}


def in_float64(
    function: Function, state: Mapping[str, Tensor], inputs: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """The outputs of `function`, computed in float64 throughout."""
    wide_state, wide_inputs = tree_map(_widen, (dict(state), dict(inputs)))
    with Float64(), _AsInFloat32():
        return function(wide_state, wide_inputs)


class Float64(TorchDispatchMode):
    """While active, what would be computed in float32 is computed in float64: constants, ranges,
    explicit casts.

    Handing float64 tensors to a model is not enough: a mask made `.float()` or a grid made by
    `arange` would fail or round. The default type is process-wide and stays untouched.
    """

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Called by PyTorch for every operator."""
        args, kwargs = tree_map(_widen, (args, kwargs or {}))
        if func is LOOP:
            with self:
                return exact_loop(*args)
        if func is aten.convolution.default and _is_depthwise(args[0], args[1], args[6], args[8]):
            return depthwise(*args[:6])
        if func is aten.convolution_backward.default and not any(args[10][1:]):
            g, x, weight, _, stride, padding, dilation, transposed, _, groups, _ = args
            if _is_depthwise(x, weight, transposed, groups):
                return depthwise_gradient(g, x, weight, stride, padding, dilation), None, None
        if func is aten.hardsigmoid_backward.default:
            # PyTorch's float64 kernel has 1/6 in float32; written apart from the rule it judges
            g, x = args
            return torch.where((x > -3) & (x < 3), g / 6, torch.zeros_like(g))
        result = func(*args, **kwargs)
        if _is_made_narrow(func, args, kwargs, result):
            result = func(*args, **{**kwargs, "dtype": torch.float64})
        return tree_map(_widen, result)


class _AsInFloat32(TorchFunctionMode):
    """While active, what follows a tensor's type stays as it is in the program,
    where that is float32.

    An RMS norm without an epsilon takes float32's; numbers written down for `x.new_tensor` are
    rounded to float32.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Called by PyTorch for every function of its public interface."""
        if func in (F.rms_norm, torch.rms_norm):
            return _rms_norm(*args, **(kwargs or {}))
        if func is Tensor.new_tensor:
            made = func(*args, **(kwargs or {}))
            if made.dtype == torch.float64:  # by numpy, since `Float64` makes float64 of `.float()`
                return torch.from_numpy(made.numpy().astype("float32").astype("float64"))
            return made
        return func(*args, **(kwargs or {}))


def _rms_norm(
    input: Tensor, normalized_shape: list[int], weight: Any = None, eps: float | None = None
) -> Tensor:
    return F.rms_norm(
        input, normalized_shape, weight, torch.finfo(torch.float32).eps if eps is None else eps
    )


def _is_made_narrow(func: Any, args: Any, kwargs: Any, result: Any) -> bool:
    """Whether `func` made `result` from numbers alone, in the default type:
    it would keep float32's rounding."""
    return (
        isinstance(result, Tensor)
        and result.dtype == torch.float32
        and kwargs.get("dtype") is None
        and any(argument.name == "dtype" for argument in func._schema.arguments)
        and torch.Tag.nondeterministic_seeded not in func.tags
        and not any(isinstance(value, Tensor) for value in tree_leaves((args, kwargs)))
    )


def _widen(value: Any) -> Any:
    """float32 tensors and the type itself in float64, anything else as it is."""
    if isinstance(value, Tensor):
        return value.double() if value.dtype == torch.float32 else value
    return _WIDER.get(value, value) if isinstance(value, torch.dtype) else value


def _is_depthwise(x: Tensor, weight: Tensor, transposed: bool, groups: int) -> bool:
    return not transposed and groups > 1 and groups == x.shape[1] == weight.shape[0]


def depthwise(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> Tensor:
    """y[c, o] = Σ w[c, k] x[c, s·o + d·k - p], a product for each k.

    Why: PyTorch's own float64 form takes the groups one by one, which costs seconds a layer.
    """
    room = F.pad(x, [n for p in reversed(padding) for n in (p, p)])
    result: Any = 0
    for place, window in _windows(room, weight, stride, dilation):
        result = result + room[window] * _column(weight, place)
    return result if bias is None else result + bias.reshape(-1, *[1] * len(stride))


def depthwise_gradient(
    g: Tensor,
    x: Tensor,
    weight: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> Tensor:
    """The gradient of `depthwise` with respect to x."""
    room = F.pad(torch.zeros_like(x), [n for p in reversed(padding) for n in (p, p)])
    for place, window in _windows(room, weight, stride, dilation):
        room[window] += g * _column(weight, place)
    inside: Any = (..., *(slice(p, p + n) for p, n in zip(padding, x.shape[2:], strict=True)))
    return room[inside]


def _windows(room: Tensor, weight: Tensor, stride: Sequence[int], dilation: Sequence[int]) -> Any:
    """For each place in the kernel, the part of the padded input that it meets."""
    kernel = weight.shape[2:]
    axes = list(zip(room.shape[2:], kernel, stride, dilation, strict=True))
    for place in product(*map(range, kernel)):
        yield (
            place,
            (
                ...,
                *(
                    slice(d * i, d * i + n - d * (k - 1), s)
                    for i, (n, k, s, d) in zip(place, axes, strict=True)
                ),
            ),
        )


def _column(weight: Tensor, place: tuple[int, ...]) -> Tensor:
    taps: Any = (slice(None), 0, *place)
    return weight[taps].reshape(-1, *[1] * len(place))
