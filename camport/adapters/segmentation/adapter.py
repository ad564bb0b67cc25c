"""Semantic segmentation: one row of class logits a pixel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from camport.adapters.answer import Answer, said
from camport.adapters.lineage import Lineage, Origin
from camport.adapters.reading import a_row_each, numbers, one_hot, parts_of, whole
from camport.adapters.segmentation.outputs import (
    check_axes,
    chosen,
    doubtful,
    ends_in_sigmoid,
    is_binary,
    logits_of,
    maps_of,
    stretched,
)
from camport.core.adapter import Adapter
from camport.core.maps.ruled_out import weighed
from camport.core.running.layers import LayerName, choose
from camport.core.running.runs import Run
from camport.errors import InputError, ModelError

PREDICTED = -1.0
"""In a mask: wherever the model predicts the class."""

HEADS = ("decode_head", "classifier", "head", "segmentation_head", "aux")
"""Beginnings of the names of what makes logits of the backbone's maps."""

EXAMPLE = '{"class": 12, "box": (x0, y0, x1, y1)}'


@dataclass(frozen=True)
class SegmentationAdapter(Adapter):
    """Explains a class in a region: y^c = sum(mask * z_c) / sum(mask) (Seg-Grad-CAM, 2002.11434,
    equation 2).

    The model gives logits z [b,k,h,w]: a tensor, "out" of a dictionary as torchvision's, or
    `.logits`; of several the one that is called like an output, not like an auxiliary one, and a
    DoubtWarning names the others. Logits coarser than the mask are stretched to it.

    `target` is None, a class (int or int64 [b]), or a dictionary of "class" and one of "mask":
    float or bool [H,W] or [b,H,W], at the size of the images; "box": (x0, y0, x1, y1), or [b,4], in
    their pixels; "pixel": (x, y), or [b,2]. Without a region it is where the model predicts the
    class; without a class (-1) the one that covers most of the region, or of the image but for the
    background.

    A model of one channel, z [b,1,h,w], has two classes: 1, predicted where z > 0, with the score
    z, and 0 with -z. Of probabilities p, all in [0,1], 1 is predicted where p > 1/2, and the scores
    are p and 1 - p. Class 1 is the default.

    Args:
        background: the class that is not chosen by itself; None where there is no such class.
        probabilities: whether the model of one channel gives probabilities; None looks at what it
            gives first.
        seen: what is to be said of the outputs; told at the first call.
    """

    name: ClassVar[str] = "segmentation"
    title: ClassVar[str] = "One class of a semantic segmentation in a region"
    settles_in_passing: ClassVar[bool] = True
    sized: ClassVar[Mapping[str, Mapping[int, str]]] = {"mask": {1: "H", 2: "W"}}

    background: int | None = 0
    probabilities: bool | None = None
    seen: tuple[str, ...] = ()

    @property
    def inputs(self) -> tuple[str, ...]:
        """`target` int64 [b] and `mask` [b,H,W],
        which is -1 everywhere for the predicted region."""
        return ("target", "mask")

    def call(self, model: nn.Module, images: Float[Tensor, "b c H W"]) -> Any:
        """The model's outputs; at the first call also whether a softmax or a logistic function made
        them."""
        if self.probabilities is not None:
            return model(images)
        lineage = Lineage(ancestry=True)
        with lineage:
            outputs = model(images)
        z = maps_of(outputs)
        origin = lineage.of(z[chosen(z)]) if z else Origin()
        return Answer(outputs, images.shape[0], None, replace(origin, logits=None))

    def said(self, outputs: Any) -> Any:
        """The model's own output."""
        return said(outputs)

    def prepare(self, target: Any, images: Float[Tensor, "b c H W"]) -> dict[str, Tensor]:
        """Classes [b], and masks [b,H,W] of any region."""
        b, device = images.shape[0], images.device
        if target is None or not isinstance(target, Mapping):
            target = {"class": -1 if target is None else target}
        parts = parts_of(target, ("class", "target", "mask", "box", "pixel"), EXAMPLE)
        given = parts.get("class", parts.get("target", -1))
        classes = a_row_each(
            whole(given, "class", "one class or int64 [b]", device), 1, b, "class", "[b]"
        )
        if bool((classes < -1).any()):
            raise InputError(
                f"class {int(classes.min())} is out of range; classes are 0 and up, -1 is the"
                " model's own"
            )
        if "class" in parts and "target" in parts:
            raise InputError(
                'target has "class" and "target", which are two names of one thing; give one of'
                " them"
            )
        regions = [name for name in ("mask", "box", "pixel") if name in parts]
        if len(regions) > 1:
            raise InputError(f"target has {' and '.join(regions)}; give one region")
        if not regions:
            mask = torch.full((b, *images.shape[2:]), PREDICTED, dtype=images.dtype, device=device)
        else:
            mask = self._mask(regions[0], parts[regions[0]], images)
        return {"target": classes, "mask": mask}

    def check(self, outputs: Any, target: Mapping[str, Tensor]) -> None:
        """InputError for a class the model does not have, or one that it predicts nowhere."""
        check_axes(logits_of(outputs), target["mask"].shape)
        k, binary = self.classes_of(outputs), is_binary(logits_of(outputs))
        for value in (int(target["target"].max()), self.background or 0):
            if not -1 <= value < k:
                raise InputError(
                    f"class {value} is out of range: the model has {k} classes (0..{k - 1})"
                )
        resolved = self.resolve(outputs, target)
        for i, covered in enumerate(resolved["mask"].flatten(1).sum(1).tolist()):
            if covered <= 0:
                c = int(resolved["target"][i])
                limit = f", {self._limit(c)} is true of no pixel" if binary else ""
                raise InputError(
                    f"the model predicts class {c} nowhere in image {i}{limit}; name another class,"
                    ' or a region: "mask", "box" or "pixel"'
                )

    def resolve(self, outputs: Any, target: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """-1 becomes the class that covers most,
        and a mask of -1 the region where it is predicted."""
        mask = target["mask"]
        z = stretched(logits_of(outputs), mask)
        asked = mask < 0
        if is_binary(z):
            classes = torch.where(
                target["target"] < 0, torch.ones_like(target["target"]), target["target"]
            )
            foreground = z > (0.5 if self.probabilities else 0)
            here = (foreground == (classes > 0)[:, None, None, None]).to(z.dtype)
        else:
            winner = z.argmax(1, keepdim=True)
            each = (torch.arange(z.shape[1], device=z.device)[None, :, None, None] == winner).to(
                z.dtype
            )
            covered = (each * torch.where(asked, torch.ones_like(mask), mask)[:, None]).sum((2, 3))
            if self.background is not None:
                nothing = torch.arange(z.shape[1], device=z.device)[None] == self.background
                covered = torch.where(
                    nothing & asked.flatten(1).any(1)[:, None], -torch.ones_like(covered), covered
                )
            classes = torch.where(target["target"] < 0, covered.argmax(1), target["target"])
            here = (each * one_hot(classes, z)).sum(1, keepdim=True)
        return {"target": classes, "mask": torch.where(asked, here[:, 0], mask)}

    def score(self, outputs: Any, target: Mapping[str, Tensor]) -> Float[Tensor, " b"]:
        """sum(mask * z_c) / sum(mask)."""
        mask = target["mask"]
        z = logits_of(outputs)
        if is_binary(z):
            own = z * (2 * target["target"] - 1).to(z.dtype)[:, None, None, None]
            own = (
                own + (1 - target["target"]).to(z.dtype)[:, None, None, None]
                if self.probabilities
                else own
            )
        else:
            own = weighed(z, one_hot(target["target"], z)).sum(1, keepdim=True)
        own = stretched(own, mask)[:, 0]
        weight = mask.to(own.dtype)
        return (own * weight).sum((1, 2)) / weight.sum((1, 2)).clamp_min(1e-6)

    def explained(self, target: Mapping[str, Tensor]) -> Tensor:
        """The classes."""
        return target["target"]

    def settled(self, model: nn.Module, outputs: Any) -> SegmentationAdapter:
        """Knowing whether one channel holds probabilities,
        from what the model gives for one image."""
        if self.probabilities is not None or outputs is None:
            return self
        try:
            z = logits_of(outputs).detach()
        except ModelError:  # said by `check`, of all images
            return self
        between = bool((z >= 0).all() and (z <= 1).all())
        origin = outputs.reading if isinstance(outputs, Answer) and outputs.reading else Origin()
        if origin.ranked:
            raise ModelError(
                f"the model's outputs {tuple(z.shape)} are in the order of their values"
                f" ({origin.maker}): which class a channel has is another one for each pixel."
                " Explain a model that returns its scores in the order of the classes"
            )
        if ends_in_sigmoid(model):
            origin = replace(origin, link="sigmoid")
        return replace(
            self,
            probabilities=is_binary(z) and between,
            seen=doubtful(z, between, origin, said(outputs)),
        )

    def classes_of(self, outputs: Any) -> int:
        """The channels; two of one channel."""
        z = logits_of(outputs)
        return 2 if is_binary(z) else int(z.shape[1])

    def doubts(self, target: Mapping[str, Tensor], method: str) -> Iterator[str]:
        """That probabilities are explained, or one of several outputs."""
        yield from self.seen
        if self.probabilities:
            yield (
                "the model's one channel lies in [0,1] and is read as a probability: predicted"
                " above 1/2, and explained as it is, where a logit would not saturate."
                " SegmentationAdapter(probabilities=False) reads logits"
            )

    def sample(self, outputs: Any, batch: int, generator: torch.Generator) -> dict[str, Tensor]:
        """As `sample_for`, with masks at the logits' size."""
        return self._sample(outputs, logits_of(outputs).shape[2:], batch, generator)

    def sample_for(
        self, images: Tensor, outputs: Any, batch: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Random classes in random boxes, every second the model's own class and region,
        at the images' size."""
        return self._sample(outputs, images.shape[2:], batch, generator)

    def _sample(
        self, outputs: Any, size: Sequence[int], batch: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        z = logits_of(outputs)
        h, w = size
        mask = torch.zeros(batch, h, w, dtype=z.dtype)
        for row in mask:
            y, x = (
                int(torch.randint(0, max(n // 2, 1), (1,), generator=generator)) for n in (h, w)
            )
            row[y : y + h // 2 + 1, x : x + w // 2 + 1] = 1
        classes = torch.randint(2 if is_binary(z) else z.shape[1], (batch,), generator=generator)
        classes[1::2], mask[1::2] = -1, PREDICTED
        return {"target": classes, "mask": mask}

    def layers(self, runs: Sequence[Run]) -> list[LayerName]:
        """The last maps of the backbone, of which the head makes logits;
        the deepest where no head is named."""
        head = next(
            (i for i, run in enumerate(runs) if run.leads and run.name.startswith(HEADS)), 0
        )
        return [choose(runs, decoders=True, end=head) if head else choose(runs)]

    def _limit(self, c: int) -> str:
        name, limit = ("p", "1/2") if self.probabilities else ("z", "0")
        return f"{name} {'>' if c else '<='} {limit}"

    def _mask(self, kind: str, value: Any, images: Tensor) -> Tensor:
        b, (h, w), device = images.shape[0], images.shape[2:], images.device
        if kind == "mask":
            mask = torch.as_tensor(value, device=device) if isinstance(value, Tensor) else value
            given = numbers(mask, "mask", "[H,W] or [b,H,W]", images.dtype, device)
            mask = a_row_each(given, 3, b, "mask", "[H,W] or [b,H,W]")
            wrong = (mask < 0).flatten(1).any(1) & ~(mask == PREDICTED).flatten(1).all(1)
            if bool(wrong.any()):
                i = int(wrong.nonzero()[0])
                raise InputError(
                    f"mask of image {i} has values down to {float(mask[i].min()):g}; weights of"
                    " pixels are 0 and more, or -1 for all of them: where the model predicts the"
                    " class"
                )
            empty = [i for i, covered in enumerate(mask.flatten(1).any(1).tolist()) if not covered]
            if empty:
                raise InputError(f"mask of image {empty[0]} is empty; mark at least one pixel")
            return mask
        rank = 4 if kind == "box" else 2
        shape = "(x0, y0, x1, y1) or [b,4]" if kind == "box" else "(x, y) or [b,2]"
        rows = a_row_each(numbers(value, kind, shape, torch.float64, device), 2, b, kind, shape)
        if rows.shape[1] != rank:
            raise InputError(f"{kind} has {rows.shape[1]} numbers; wanted {shape}")
        corners = rows if kind == "box" else torch.cat([rows.floor(), rows.floor() + 1], 1)
        x0, y0, x1, y1 = corners.unbind(1)
        outside = (x0 < 0) | (y0 < 0) | (x1 > w) | (y1 > h) | (x1 <= x0) | (y1 <= y0)
        if bool(outside.any()):
            shown = [round(v, 1) for v in rows[int(outside.nonzero()[0])].tolist()]
            raise InputError(
                f"{kind} {shown} is empty or outside the image of {w}x{h} pixels (width x height)"
            )
        y, x = (torch.arange(n, device=device, dtype=torch.float64) + 0.5 for n in (h, w))
        inside = (x >= x0[:, None]) & (x <= x1[:, None]), (y >= y0[:, None]) & (y <= y1[:, None])
        mask = (inside[1][:, :, None] & inside[0][:, None, :]).to(images.dtype)
        if not bool(mask.flatten(1).any(1).all()):
            raise InputError(f"{kind} {rows.tolist()} holds no pixel's centre; make it larger")
        return mask
