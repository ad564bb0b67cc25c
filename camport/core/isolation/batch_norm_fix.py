"""Batch normalisation whose backward pass is right for one image.

PyTorch's, on a CPU and in evaluation mode (seen in 2.11 and 2.15), misreads a gradient of one image
whose channels lie innermost with another stride than usual along the batch, as
`y.flatten(2).permute(0, 2, 1)` sends it back: what it returns has little to do with the derivative.
A gradient that is copied into the usual order is read rightly.
"""

from typing import Any

from torch import Tensor, nn

from camport.core.maps.loop import traced


def steady(kind: type[nn.Module]) -> type[nn.Module]:
    """A class derived from `kind` whose gradients come in the usual order,
    where that is a batch normalisation."""
    if not issubclass(kind, nn.BatchNorm2d):
        return kind
    return type(kind.__name__, (_Steady, kind), {"__module__": kind.__module__})


class _Steady(nn.Module):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        output = super().__call__(*args, **kwargs)
        _reordered(output)
        return output


def _reordered(output: Any) -> None:
    if (
        isinstance(output, Tensor)
        and output.requires_grad
        and output.shape[0] == 1
        and not traced()
    ):
        output.register_hook(Tensor.contiguous)
