"""The pure function that eager PyTorch calls and that export traces:
one explanation of one model."""

from collections.abc import Mapping
from typing import Protocol

from torch import Tensor


class Program(Protocol):
    """An explanation as a function of tensors alone: `(state, inputs) -> outputs`.

    Nothing in it depends on values: no branch, no `.item()`, no check. It calls
    `torch.autograd.grad` inside, so a tracer must look below autograd (make_fx does).
    """

    inputs: tuple[str, ...]
    """Names of the graph inputs, `images` first, e.g. `("images", "target")`."""

    state: dict[str, Tensor]
    """Every tensor of the model (parameters, buffers, plain attributes) by its dotted name."""

    def __call__(
        self, state: Mapping[str, Tensor], inputs: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Runs with `state` in place of the model's tensors. The result's names and order are those
        of the graph: outputs, outputs_1, ..., score, heatmap, feature_maps, ..., gradients, ...
        """
        ...

    def sample(self, images: Tensor, batch: int, seed: int) -> dict[str, Tensor]:
        """Inputs nobody traced: `batch` images of the dtype and statistics of `images`,
        with other targets."""
        ...
