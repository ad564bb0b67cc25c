"""Batch normalisation whose backward pass is right for one image.

PyTorch's, on a CPU and in evaluation mode (seen in 2.11 and 2.15), misreads a gradient of one image whose channels lie
innermost with another stride than usual along the batch, as `y.flatten(2).permute(0, 2, 1)` sends it back: what it
returns has little to do with the derivative. A gradient that is copied into the usual order is read rightly.
"""

from typing import Any

from torch import Tensor, nn

from camport.core.loop import traced
from camport.core.replica import hook, specialise


def steady(double: nn.Module) -> nn.Module:
    """`double`, whose batch normalisations are given gradients in the usual order; it must be a private one."""
    for module in double.modules():
        # a class costs less than a hook
        if not specialise(module, BatchNorm2d) and isinstance(module, nn.BatchNorm2d):
            hook(module, lambda _, __, output: _reordered(output))
    return double


class BatchNorm2d(nn.BatchNorm2d):
    """The module, with its true gradient."""

    def forward(self, x: Tensor) -> Tensor:
        """As torch.nn.BatchNorm2d."""
        y = super().forward(x)
        _reordered(y)
        return y


def _reordered(output: Any) -> None:
    if isinstance(output, Tensor) and output.requires_grad and output.shape[0] == 1 and not traced():
        output.register_hook(Tensor.contiguous)
