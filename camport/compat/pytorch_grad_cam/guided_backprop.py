"""grad-cam's guided backpropagation."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

import camport
from camport.compat.pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from camport.compat.targets import TargetsAdapter
from camport.errors import InputError


class GuidedBackpropReLUModel:
    """The guided gradient of one image, as a picture [H,W,c]: `guided_backprop`.

    Every ReLU follows the rule, those that are functions too; in grad-cam modules alone do.

    Args:
        model: a classifier.
        device: where it is explained; None is where it is.
    """

    def __init__(self, model: nn.Module, device: Any = None) -> None:
        self.model, self.device = model, device

    def __call__(
        self, input_img: Float[Tensor, "1 c H W"], target_category: int | None = None
    ) -> np.ndarray:
        """Signed, float32 [H,W,c].

        Args:
            input_img: one image as the model wants it.
            target_category: the class; None is the top one.

        Raises:
            InputError: several images.
        """
        if not isinstance(input_img, Tensor) or input_img.dim() != 4 or len(input_img) != 1:
            shown = (
                tuple(input_img.shape)
                if isinstance(input_img, Tensor)
                else type(input_img).__name__
            )
            raise InputError(
                f"input_img is {shown}; give one image [1,c,H,W], since one picture is returned"
            )
        images = input_img if self.device is None else input_img.to(torch.device(self.device))
        targets = None if target_category is None else [ClassifierOutputTarget(target_category)]
        explanation = camport.explain(
            self.model, images, "guided_backprop", adapter=TargetsAdapter().of(targets)
        )
        gradient: Tensor = explanation.figures["gradient"][0]
        return gradient.permute(1, 2, 0).float().cpu().numpy()
