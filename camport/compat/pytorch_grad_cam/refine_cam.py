"""grad-cam's RefineCAM: what the maps of several layers all show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from camport.compat.pytorch_grad_cam.base_cam import BaseCAM, Entered
from camport.compat.pytorch_grad_cam.classes import GradCAMPlusPlus
from camport.compat.targets import Reshape, Target
from camport.core import minmax


class RefineCAM(Entered):
    """The product of the layers' maps, each in [0,1] at the image's size; arXiv 2605.14641.

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
        base_method: type[BaseCAM] = GradCAMPlusPlus,
        **options: Any,
    ) -> None:
        self.base_cam_per_layer = [
            base_method(model, [layer], reshape_transform, **options) for layer in target_layers
        ]

    def __call__(
        self,
        input_tensor: Float[Tensor, "b c H W"],
        targets: Sequence[Target] | None = None,
        eigen_smooth: bool = False,
    ) -> Float[np.ndarray, "b H W"]:
        """A map of each image, float32 in [0,1]; arguments as of the other classes."""
        maps = [
            torch.from_numpy(cam(input_tensor, targets, eigen_smooth=eigen_smooth))
            for cam in self.base_cam_per_layer
        ]
        return minmax(torch.stack(maps).prod(0)).numpy()
