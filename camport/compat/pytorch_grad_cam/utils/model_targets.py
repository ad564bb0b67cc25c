"""What is explained of an image, as callables of what the model says of it: [k] of a classifier,
[k,h,w] of pixels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class ClassifierOutputTarget:
    """The score z_c of a class.

    Args:
        category: c.
    """

    category: int

    def __call__(self, model_output: Tensor) -> Tensor:
        """[] of [k], [b] of [b,k]."""
        return model_output[..., self.category]


@dataclass(frozen=True)
class ClassifierOutputSoftmaxTarget:
    """softmax(z)_c, the probability of a class.

    Args:
        category: c.
    """

    category: int

    def __call__(self, model_output: Tensor) -> Tensor:
        """[] of [k], [b] of [b,k]."""
        return model_output.softmax(-1)[..., self.category]


@dataclass(frozen=True)
class ClassifierOutputReST:
    """z_c + log softmax(z)_c, ReST of arXiv 2501.06261.

    Args:
        category: c.
    """

    category: int

    def __call__(self, model_output: Tensor) -> Tensor:
        """[] of [k], [b] of [b,k]."""
        return (model_output + model_output.log_softmax(-1))[..., self.category]


@dataclass(frozen=True)
class BinaryClassifierOutputTarget:
    """A single logit, with the sign of the class: of class 1 as it is, of class 0 negated.

    Args:
        category: 0 or 1.
    """

    category: int

    def __call__(self, model_output: Tensor) -> Tensor:
        """As the outputs."""
        return model_output if self.category == 1 else -model_output


class SoftmaxOutputTarget:
    """All probabilities; a metric's, since it is no single number."""

    def __call__(self, model_output: Tensor) -> Tensor:
        """As the outputs."""
        return model_output.softmax(-1)


class RawScoresOutputTarget:
    """The outputs as they are, of a model that says one number."""

    def __call__(self, model_output: Tensor) -> Tensor:
        """As the outputs."""
        return model_output


class SemanticSegmentationTarget:
    """The sum of a class's scores over the pixels of a mask.

    Args:
        category: number of the class.
        mask: [h,w] of the size of the model's output, weights or 0 and 1.
    """

    def __init__(self, category: int, mask: np.ndarray | Tensor) -> None:
        self.category, self.mask = category, torch.as_tensor(mask)

    def __call__(self, model_output: Tensor) -> Tensor:
        """[] of [k,h,w]."""
        return (model_output[self.category] * self.mask.to(model_output)).sum()


class FasterRCNNBoxScoreTarget:
    """For each box that is asked about: IoU plus score of the detection of its class that overlaps
    it most.

    0 where the detection with the largest overlap is of another class, or overlaps by no more than
    the threshold.

    Args:
        labels: classes of the boxes.
        bounding_boxes: [n,4], left, top, right, bottom.
        iou_threshold: overlap that is needed.
    """

    def __init__(
        self, labels: Sequence[Any], bounding_boxes: Any, iou_threshold: float = 0.5
    ) -> None:
        self.labels, self.bounding_boxes, self.iou_threshold = labels, bounding_boxes, iou_threshold

    def __call__(self, model_outputs: dict[str, Tensor]) -> Tensor:
        """[] of a detector's dictionary of one image: boxes [m,4], labels [m], scores [m]."""
        boxes, scores = model_outputs["boxes"], model_outputs["scores"]
        if not len(boxes):
            return scores.sum()
        found = scores.sum() * 0
        for box, label in zip(
            torch.as_tensor(np.asarray(self.bounding_boxes)).to(boxes), self.labels, strict=True
        ):
            iou = _overlap(box, boxes)
            best = iou.argmax()
            if iou[best] > self.iou_threshold and model_outputs["labels"][best] == label:
                found = found + iou[best] + scores[best]
        return found


class FinerWeightedTarget:
    """A class against others: the mean of z_c - alpha z_d over classes d,
    weighted by their probabilities.

    Zhang et al. 2025, arXiv 2501.11309.

    Args:
        main_category: c.
        comparison_categories: the classes d.
        alpha: how much of the others is taken off.
    """

    def __init__(
        self, main_category: int, comparison_categories: Sequence[int], alpha: float
    ) -> None:
        self.main_category, self.comparison_categories, self.alpha = (
            main_category,
            [*comparison_categories],
            alpha,
        )

    def __call__(self, model_output: Tensor) -> Tensor:
        """[] of [k], [b] of [b,k]."""
        others = model_output[..., self.comparison_categories]
        weights = model_output.softmax(-1)[..., self.comparison_categories]
        margins = model_output[..., self.main_category, None] - self.alpha * others
        return (weights * margins).sum(-1) / weights.sum(-1)


def _overlap(box: Tensor, boxes: Tensor) -> Tensor:
    """Intersection over union of a box [4] with boxes [m,4]."""
    shared = (
        (torch.minimum(box[2:], boxes[:, 2:]) - torch.maximum(box[:2], boxes[:, :2]))
        .clamp_min(0)
        .prod(1)
    )
    areas = (box[2:] - box[:2]).prod() + (boxes[:, 2:] - boxes[:, :2]).prod(1)
    return shared / (areas - shared)
