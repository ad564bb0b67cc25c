"""Object detection: one box and its class."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from camport.adapters.detection.boxes import area, overlap, suppressed, within
from camport.adapters.detection.calls import Seen, inner_model, seen
from camport.adapters.detection.candidates import SMALLEST, Candidates, one_hot, picked
from camport.adapters.detection.doubts import doubts
from camport.adapters.detection.formats import Form, frame_of, read
from camport.adapters.detection.layers import head_inputs, trailing_queries
from camport.adapters.detection.recognise import recognised
from camport.adapters.detection.target import prepared
from camport.adapters.detection.torchvision_one_stage import placed
from camport.adapters.detection.torchvision_two_stage import is_two_stage
from camport.core.adapter import Adapter
from camport.core.maps.heatmap import Size, upsample
from camport.core.maps.token_grid import Grid
from camport.core.running.layers import LayerName
from camport.core.running.runs import Run
from camport.errors import InputError, MethodError
from camport.targets.boxes import UNCLIPPED

Score = Literal["class", "objectness", "confidence", "class_sum", "left", "top", "right", "bottom"]
SCORES = get_args(Score)
SIDES = ("left", "top", "right", "bottom")
Similarity = Literal["match", "drise"]


@dataclass(frozen=True)
class DetectionAdapter(Adapter):
    r"""Explains one detection: the candidate that matches a box and a class,
    or each of the best detections.

    A detector scores thousands of candidates. The one that is explained is

    .. math:: \arg\max_n \mathrm{IoU}(\text{box}, \text{box}_n)\; p_n(\text{class})

    found without a gradient, both boxes clipped to the image as detectors report them, and those
    that are clipped to the same box told apart by a thousandth of their overlap before; y^c is then
    what the detector says of this candidate alone. `target` is None (every detection of an image
    that is left after non-maximum suppression, the best `most` of them, a map each);
    {"boxes": [b,4], "class_ids": [b]} with boxes (left, top, right, bottom) in pixels of `images`
    and classes as the model numbers them, -1 or left out for whatever class the matched candidate
    has; {"index": [b]}, the number of a candidate. One image may be asked about any number of
    boxes. In an exported graph a box of no area stands for the image's best detection.

    `Explanation.figures` tells for each map: `boxes`, `class_ids`, `confidence`, `index` and `iou`
    of the candidate that was explained. A match below an IoU of a half is warned of.

    Args:
        score_as: what y^c is. "class": the class logit. "objectness": the logit of there being an
            object. "confidence": the logarithm of the confidence, class and objectness together.
            "left", "top", "right", "bottom": a side of the box in pixels.
            "class_sum": the class's confidence summed over all candidates,
            which is no explanation of any one of them.
        format: one of `camport.adapters.detection.formats.FORMATS`, where outputs do not tell it.
        classes: the number of classes, where the model does not tell it.
        threshold: confidence below which a candidate is no detection.
        iou: overlap above which the weaker of two detections of a class is suppressed.
        most: detections explained where none is named.
        similarity: what methods that mask the image ask for: "match", the largest IoU x confidence
            over the masked image's candidates, or D-RISE's, which multiplies IoU, cosine of the
            class probabilities, and objectness.
        form: how outputs are read; recognised at the first call.
    """

    name: ClassVar[str] = "detection"
    title: ClassVar[str] = "One object of a detector: YOLO, DETR, SSD, R-CNN families"
    method: ClassVar[str] = "odam"
    lists: ClassVar[bool] = True

    score_as: Score = "class"
    format: str | None = None
    classes: int | None = None
    threshold: float = 0.25
    iou: float = 0.45
    most: int = 10
    similarity: Similarity = "match"
    form: Form | None = None

    def __post_init__(self) -> None:
        if self.score_as not in SCORES:
            raise InputError(f"score_as is {self.score_as!r}; it is one of {', '.join(SCORES)}")
        if not (0 <= self.threshold <= 1 and 0 <= self.iou <= 1 and self.most >= 1):
            raise InputError(
                f"threshold {self.threshold}, iou {self.iou}, most {self.most}; wanted 0 to 1, 0 to"
                " 1, 1 or more"
            )

    @property
    def inputs(self) -> tuple[str, ...]:
        """`boxes` float [b,4] and `class_ids` int64 [b]."""
        return ("boxes", "class_ids")

    def prepare(self, target: Any, images: Float[Tensor, "b c H W"]) -> dict[str, Tensor]:
        """Boxes [r,4] and classes [r]; of one image any number of rows."""
        return prepared(target, images)

    def unwrap(self, model: nn.Module) -> nn.Module:
        """The network inside a predictor, which may not let a gradient through."""
        return inner_model(model)

    def call(self, model: nn.Module, images: Float[Tensor, "b c H W"]) -> Any:
        """The model's outputs, with the size of the images."""
        return seen(model, images, None, settled=self.form is not None)

    def ask(
        self, model: nn.Module, images: Float[Tensor, "b c H W"], target: Mapping[str, Tensor]
    ) -> Any:
        """The same; a two-stage detector is asked about the boxes themselves.

        Until it is settled, about the whole image twice: its layers must not depend on what it is
        asked, and what is cut out for two boxes has a row for each, which tells it from a map.
        """
        if self.form is None and is_two_stage(model):
            whole = torch.tensor(
                [[0.0, 0.0, images.shape[-1], images.shape[-2]]], device=images.device
            )
            target = {"boxes": whole.repeat(2, 1)}
        return seen(model, images, target, settled=self.form is not None)

    def said(self, outputs: Any) -> Any:
        """The model's own output."""
        return outputs.outputs if isinstance(outputs, Seen) else outputs

    def settled(self, model: nn.Module, outputs: Any) -> Adapter:
        """This adapter with the form of the model's outputs fixed: told from values,
        which a graph does not have."""
        if self.form is not None:
            return self
        found = recognised(
            outputs.outputs, model, outputs.size, self.format, self.classes, outputs.joins
        )
        return dataclasses.replace(self, form=found)

    def layers(self, runs: Sequence[Run]) -> list[LayerName]:
        """The inputs of the detector's head."""
        return head_inputs(runs, self.form.queries if self.form else 0)

    def grid(
        self, activation: Tensor, image_size: Size, model: nn.Module, module: nn.Module, name: str
    ) -> Grid:
        """As for every model; of a transformer's tokens,
        those that it asks with lie nowhere on the image."""
        found = trailing_queries(
            activation, image_size, model, self.form.queries if self.form else 0
        )
        return found or super().grid(activation, image_size, model, module, name)

    def check(self, outputs: Any, target: Mapping[str, Tensor]) -> None:
        """InputError for a class or candidate the model does not have."""
        found = self._candidates(outputs)
        n, k = found.boxes.shape[1], found.logits.shape[2]
        if found.labels is None and int(target["class_ids"].max()) >= k:
            raise InputError(
                f"class {int(target['class_ids'].max())} is out of range: the model has {k} classes"
                f" (0..{k - 1})"
            )
        if (
            "index" in target
            and not 0 <= int(target["index"].min()) <= int(target["index"].max()) < n
        ):
            raise InputError(
                f"candidate {target['index'].tolist()} is out of range: there are {n} (0..{n - 1})"
            )
        if self.score_as == "objectness" and found.objectness is None:
            raise MethodError("this detector scores no objectness; use score_as='class'")

    def listed(self, outputs: Any) -> dict[str, Tensor]:
        """The detections of one image, best first; InputError where there is none."""
        found = self._candidates(outputs)
        scores, classes = (part[0] for part in found.best())
        likely = (scores >= self.threshold).nonzero()[:, 0]
        if not len(likely):
            raise InputError(
                f"no detection reaches a confidence of {self.threshold:g}, the best has"
                f" {float(scores.max()):.2g}; lower the threshold, or name a box"
            )
        likely = likely[scores[likely].argsort(descending=True, stable=True)][:1000]
        boxes = found.boxes[0, likely]
        if self.form is not None and self.form.format == "candidates":
            boxes = within(
                boxes, frame_of(outputs.size, boxes)
            )  # torchvision clips first, YOLO packages suppress first
        kept = likely[suppressed(boxes, scores[likely], classes[likely], self.iou, self.most)]
        return {"boxes": found.boxes[0, kept], "class_ids": classes[kept], "index": kept}

    def classes_of(self, outputs: Any) -> int | None:
        """The candidates' classes; None where each candidate names its one class."""
        found = self._candidates(outputs)
        return None if found.labels is not None else int(found.logits.shape[2])

    def resolve(self, outputs: Any, target: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The matched candidate: its number, box, class,
        confidence and overlap with the box that was asked about."""
        found = self._candidates(outputs)
        asked, classes = target["boxes"].to(found.boxes.dtype), target["class_ids"]
        blank = area(asked) <= 0
        index = target.get("index")
        if (
            index is None
            and self.form
            and self.form.asked
            and found.boxes.shape[1] == asked.shape[0]
        ):
            index = torch.arange(asked.shape[0], device=asked.device)
        elif index is None:
            confident = found.confident(classes)
            reached = self._overlap(outputs, asked[:, None], found.boxes)
            # boxes larger than the image are one box when clipped:
            # without this the last bit would choose
            reached = reached + UNCLIPPED * overlap(asked[:, None], found.boxes)
            index = torch.where(blank[:, None], confident, reached * confident).argmax(1)
        box = picked(found.boxes, index)
        own = found.best_class(index)
        named = torch.where(classes < 0, own, classes)
        resolved = {
            "boxes": torch.where(blank[:, None], box, asked),
            "class_ids": named,
            "index": index,
            "matched": box,
            "iou": torch.where(
                blank, torch.ones_like(asked[:, 0]), self._overlap(outputs, asked, box)
            ),
            "confidence": found.confidence_of(index, named),
        }
        if self.similarity == "drise":
            resolved["probabilities"] = self._probabilities(found, index)
        return resolved

    def score(self, outputs: Any, target: Mapping[str, Tensor]) -> Float[Tensor, " r"]:
        """y^c of the matched candidate."""
        found = self._candidates(outputs)
        index, classes = target["index"], target["class_ids"]
        if self.score_as == "class":
            return found.logit(index, classes)
        if self.score_as == "class_sum":
            return found.confident(classes).sum(1)
        if self.score_as == "objectness":
            assert found.objectness is not None
            return picked(found.objectness[:, :, None], index)[:, 0]
        if self.score_as == "confidence":
            confident = found.confident(classes)
            return (confident.clamp_min(SMALLEST).log() * one_hot(index, confident.shape[1])).sum(1)
        return picked(found.boxes, index)[:, SIDES.index(self.score_as)]

    def probability(self, outputs: Any, target: Mapping[str, Tensor]) -> Float[Tensor, " r"]:
        """How far a detection like the explained one is found:
        the largest similarity over all candidates, in [0,1].

        Matched anew, so that an object which is not found any more scores 0.
        """
        found = self._candidates(outputs)
        reached = self._overlap(outputs, target["matched"][:, None], found.boxes)
        if self.similarity == "match":
            return (reached * found.confident(target["class_ids"])).amax(1)
        said = target["probabilities"]
        if found.labels is not None:
            likeness = found.confident(target["class_ids"])
        else:
            unit = said / _nonzero(said.norm(dim=1, keepdim=True))
            p = found.logits.softmax(2) if found.background is not None else found.logits.sigmoid()
            cosine = torch.matmul(p, unit[:, :, None])[..., 0] / _nonzero(p.norm(dim=2))
            sure = found.best()[0] if found.objectness is None else found.objectness.sigmoid()
            likeness = cosine * sure
        return (reached * likeness).amax(1)

    def explained(self, target: Mapping[str, Tensor]) -> Tensor:
        """The classes."""
        return target["class_ids"]

    def figures(self, target: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Box, confidence, number and overlap of what was explained."""
        shown = {"boxes": "matched", "confidence": "confidence", "index": "index", "iou": "iou"}
        return {
            "class_ids": target["class_ids"],
            **{name: target[key] for name, key in shown.items()},
        }

    def doubts(self, target: Mapping[str, Tensor], method: str) -> Iterator[str]:
        """Boxes that no candidate matches well, and a method that cannot tell objects apart."""
        return doubts(self.form, self.score_as, target, method)

    def sample(self, outputs: Any, batch: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Boxes of candidates that are likely to be objects, moved a little;
        every third of any class."""
        found = self._candidates(outputs)
        scores = found.best()[0][0]
        best = scores.topk(min(len(scores), 4 * batch + 8)).indices
        rows = best[torch.randint(len(best), (batch,), generator=generator)]
        boxes = found.boxes[0, rows]
        moved = (torch.rand(batch, 4, generator=generator) - 0.5).to(boxes) * 0.1
        boxes = boxes + moved * (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
        classes = found.best_class(rows) if found.labels is None else found.labels[0, rows]
        classes = classes.clone()
        classes[::3] = -1
        return {"boxes": boxes.float(), "class_ids": classes}

    def frame(self, size: Size, model: nn.Module) -> Size:
        """That of the network inside, which detectors of torchvision bring images to."""
        inside = placed(model, size)
        return size if inside is None else inside.network

    def lay(
        self, maps: Float[Tensor, "b h w"], size: Size, model: nn.Module
    ) -> Float[Tensor, "b H W"]:
        """Maps of the layers at the size of the images:
        a detector that resizes and pads inside has them elsewhere."""
        inside = placed(model, size)
        return upsample(maps, size) if inside is None else inside.to_image(maps)

    def _candidates(self, outputs: Any) -> Candidates:
        said: Seen = outputs
        form = self.form or recognised(
            said.outputs, nn.Identity(), said.size, self.format, self.classes, said.joins
        )
        key = (form, torch.is_grad_enabled())  # what was read without a gradient has none
        if key not in said.read:
            said.read[key] = read(said.outputs, form, said.size)
        return said.read[key]

    @staticmethod
    def _overlap(outputs: Seen, asked: Tensor, boxes: Tensor) -> Tensor:
        """Intersection over union inside the image:
        the user's box is mostly one that a detector clipped to it."""
        size = outputs.size
        return overlap(within(asked, frame_of(size, asked)), within(boxes, frame_of(size, boxes)))

    @staticmethod
    def _probabilities(found: Candidates, index: Tensor) -> Tensor:
        row = picked(found.logits, index)
        return row.softmax(1) if found.background is not None else row.sigmoid()


def _nonzero(length: Tensor) -> Tensor:
    return torch.where(length > 0, length, torch.ones_like(length))
