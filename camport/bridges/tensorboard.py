"""TensorBoard: pictures of explanations beside a training's curves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from camport.core import Explanation


def add_explanation(
    writer: Any,
    tag: str,
    explanation: Explanation,
    images: Any = None,
    step: int | None = None,
    **options: Any,
) -> None:
    """Overlays of all images as `tag`, their scores as `tag/score/0`, ...

    Args:
        writer: `torch.utils.tensorboard.SummaryWriter`, or what has its `add_images` and
            `add_scalar`.
        tag: the name in TensorBoard.
        explanation: of images of one size.
        images: as `Explanation.overlay` takes them; the explained images where left out.
        step: of the training.
        options: of `Explanation.overlay`.
    """
    overlays = np.stack([np.asarray(picture) for picture in explanation.overlay(images, **options)])
    writer.add_images(tag, overlays, step, dataformats="NHWC")
    for row, score in enumerate(explanation.score.tolist()):
        writer.add_scalar(f"{tag}/score/{row}", score, step)
