"""What `camport explain` was asked to do, with the model that it is done with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from camport.cli.given import Given

if TYPE_CHECKING:
    from torch import Tensor

    from camport.core.adapter import Adapter
    from camport.core.bound import Bound
    from camport.core.explainer import Explainer
    from camport.models import Loaded


@dataclass(frozen=True)
class Work:
    """What is the same for all images of one command.

    Attributes:
        model: as it was named.
        loaded: the model itself.
        task: the adapter's name.
        asking: the adapter with its options, or its name.
        methods: that explain, one or several; None stands for the task's own.
        every: the methods are all there are: those that do not fit the model are left out.
        layer: target layers that were named.
        targets: texts of `--target`.
        given: the options that tasks declare.
        views: what is drawn.
        sweep: one image at every layer.
        chunk: images at a time.
        device: where PyTorch computes.
        colormap, alpha: of the overlays.
        progress: of (done, total).
    """

    model: str
    loaded: Loaded
    task: str
    asking: str | Adapter
    methods: Sequence[str | Explainer | None]
    every: bool
    layer: list[str] | None
    targets: Sequence[str]
    given: Given
    views: Sequence[str]
    sweep: bool
    chunk: int | None
    device: str
    colormap: str
    alpha: float
    progress: Callable[[int, int], None]

    @cached_property
    def bound(self) -> list[Bound]:
        """The methods, bound once: whatever the number of files, a model is copied and its layer
        chosen once."""
        import camport

        where = None if self.sweep else self.layer or self.loaded.layer
        return [
            camport.bind(self.loaded.model, method, where, self.asking, chunk=self.chunk)
            for method in self.methods
        ]

    def batch(self, pixels: np.ndarray) -> Tensor:
        """Prepared pixels [c,H,W] as a batch of one image, on the device."""
        import torch

        return torch.from_numpy(pixels)[None].to(self.device)
