"""grad-cam's FinerCAM, another method about what tells a class from those like it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor, nn

from camport.compat.pytorch_grad_cam.base_cam import BaseCAM, Entered
from camport.compat.pytorch_grad_cam.classes import GradCAM
from camport.compat.pytorch_grad_cam.utils.model_targets import FinerWeightedTarget
from camport.compat.targets import Reshape, Target
from camport.errors import InputError


class FinerCAM(Entered):
    """A class against those with the nearest scores, by any method; Zhang et al. 2025,
    arXiv 2501.11309.

    Args:
        model: a classifier.
        target_layers: modules of the model.
        reshape_transform: as of the other classes.
        base_method: the class of the method.
        options: of that.
    """

    def __init__(
        self,
        model: nn.Module,
        target_layers: Sequence[nn.Module | str],
        reshape_transform: Reshape | None = None,
        base_method: type[BaseCAM] = GradCAM,
        **options: Any,
    ) -> None:
        self.base_cam = base_method(model, target_layers, reshape_transform, **options)

    @property
    def outputs(self) -> Any:
        """The model's own of the last call."""
        return self.base_cam.outputs

    def __call__(
        self,
        input_tensor: Float[Tensor, "b c H W"],
        targets: Sequence[Target] | None = None,
        eigen_smooth: bool = False,
        alpha: float = 1,
        comparison_categories: Sequence[int] | None = None,
        target_idx: int | None = None,
    ) -> Float[np.ndarray, "b H W"]:
        """A map of each image, float32 in [0,1].

        Args:
            input_tensor: [b,c,H,W].
            targets: in place of what follows; the scores of the classes are asked for in a call of
                its own otherwise.
            eigen_smooth: as of the other classes.
            alpha: how much of the others' scores is taken off.
            comparison_categories: which of the classes ordered by their distance from the explained
                one, itself 0; the nearest three.
            target_idx: the class that is explained; None is each image's top class.
        """
        if targets is None:
            self.base_cam(input_tensor)
            scores = self.base_cam.outputs
            if not isinstance(scores, Tensor) or scores.dim() != 2:
                raise InputError(
                    "the model's outputs are not [b,k]; give FinerCAM targets, e.g."
                    " FinerWeightedTarget"
                )
            k = scores.shape[1]
            if target_idx is not None and not 0 <= target_idx < k:
                raise InputError(
                    f"target_idx is {target_idx}; the model has {k} classes (0..{k - 1})"
                )
            own = scores.amax(1) if target_idx is None else scores[:, target_idx]
            order = (scores - own[:, None]).abs().argsort(dim=1, stable=True)
            ranks = [
                r
                for r in ((1, 2, 3) if comparison_categories is None else comparison_categories)
                if r < k
            ]
            targets = [
                FinerWeightedTarget(int(row[0]), row[ranks].tolist(), alpha) for row in order
            ]
        return self.base_cam(input_tensor, targets, eigen_smooth=eigen_smooth)
