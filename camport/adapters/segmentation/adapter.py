"""Semantic segmentation: one row of class logits a pixel."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from camport.adapters.answer import Answer, said
from camport.adapters.classification.outputs import NAMES as CLASSES
from camport.adapters.lineage import Lineage, Origin
from camport.adapters.named_outputs import named
from camport.adapters.reading import a_row_each, found, numbers, one_hot, parts_of, whole
from camport.core.adapter import Adapter
from camport.core.maps.ruled_out import weighed
from camport.core.running.layers import LayerName, choose
from camport.core.running.runs import Run
from camport.errors import InputError, ModelError

PREDICTED = -1.0
"""In a mask: wherever the model predicts the class."""

NAMES = ("out", "logits")
"""What the segmentation is called in torchvision's and transformers' models."""

CALLED = (r"main", r"seg(mentation)?s?(_.*)?", r"semantics?(_.*)?", *CLASSES, r"final(_.*)?", r"masks?(_.*)?")
AUXILIARY = re.compile(r"(^|[_.])(aux|auxiliary|side|deep|edges?|boundar(y|ies)|feat(ure)?s?)\d*($|[_.])")
"""What it is called elsewhere, the surest first, and what outputs beside it are called."""

HEADS = ("decode_head", "classifier", "head", "segmentation_head", "aux")
"""Beginnings of the names of what makes logits of the backbone's maps."""

EXAMPLE = '{"class": 12, "box": (x0, y0, x1, y1)}'


@dataclass(frozen=True)
class SegmentationAdapter(Adapter):
    """Explains a class in a region: y^c = sum(mask * z_c) / sum(mask) (Seg-Grad-CAM, 2002.11434, equation 2).

    The model gives logits z [b,k,h,w]: a tensor, "out" of a dictionary as torchvision's, or `.logits`; of several the
    one that is called like an output, not like an auxiliary one, and a DoubtWarning names the others. Logits coarser
    than the mask are stretched to it.

    `target` is None, a class (int or int64 [b]), or a dictionary of "class" and one of
        "mask": float or bool [H,W] or [b,H,W], at the size of the images;
        "box": (x0, y0, x1, y1), or [b,4], in their pixels; "pixel": (x, y), or [b,2].
    Without a region it is where the model predicts the class; without a class (-1) the one that covers most of the
    region, or of the image but for the background.

    A model of one channel, z [b,1,h,w], has two classes: 1, predicted where z > 0, with the score z, and 0 with -z. Of
    probabilities p, all in [0,1], 1 is predicted where p > 1/2, and the scores are p and 1 - p. Class 1 is the default.

    Args:
        background: the class that is not chosen by itself; None where there is no such class.
        probabilities: whether the model of one channel gives probabilities; None looks at what it gives first.
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
        """`target` int64 [b] and `mask` [b,H,W], which is -1 everywhere for the predicted region."""
        return ("target", "mask")

    def call(self, model: nn.Module, images: Float[Tensor, "b c H W"]) -> Any:
        """The model's outputs; at the first call also whether a softmax or a logistic function made them."""
        if self.probabilities is not None:
            return model(images)
        lineage = Lineage(ancestry=True)
        with lineage:
            outputs = model(images)
        z = _maps(outputs)
        origin = lineage.of(z[_chosen(z)]) if z else Origin()
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
        classes = a_row_each(whole(given, "class", "one class or int64 [b]", device), 1, b, "class", "[b]")
        if bool((classes < -1).any()):
            raise InputError(f"class {int(classes.min())} is out of range; classes are 0 and up, -1 is the model's own")
        if "class" in parts and "target" in parts:
            raise InputError('target has "class" and "target", which are two names of one thing; give one of them')
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
        _check_axes(_logits(outputs), target["mask"].shape)
        k, binary = self.classes_of(outputs), _binary(_logits(outputs))
        for value in (int(target["target"].max()), self.background or 0):
            if not -1 <= value < k:
                raise InputError(f"class {value} is out of range: the model has {k} classes (0..{k - 1})")
        resolved = self.resolve(outputs, target)
        for i, covered in enumerate(resolved["mask"].flatten(1).sum(1).tolist()):
            if covered <= 0:
                c = int(resolved["target"][i])
                limit = f", {self._limit(c)} is true of no pixel" if binary else ""
                raise InputError(
                    f"the model predicts class {c} nowhere in image {i}{limit}; name another class, "
                    'or a region: "mask", "box" or "pixel"'
                )

    def resolve(self, outputs: Any, target: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """-1 becomes the class that covers most, and a mask of -1 the region where it is predicted."""
        mask = target["mask"]
        z = _stretched(_logits(outputs), mask)
        asked = mask < 0
        if _binary(z):
            classes = torch.where(target["target"] < 0, torch.ones_like(target["target"]), target["target"])
            foreground = z > (0.5 if self.probabilities else 0)
            here = (foreground == (classes > 0)[:, None, None, None]).to(z.dtype)
        else:
            winner = z.argmax(1, keepdim=True)
            each = (torch.arange(z.shape[1], device=z.device)[None, :, None, None] == winner).to(z.dtype)
            covered = (each * torch.where(asked, torch.ones_like(mask), mask)[:, None]).sum((2, 3))
            if self.background is not None:
                nothing = torch.arange(z.shape[1], device=z.device)[None] == self.background
                covered = torch.where(nothing & asked.flatten(1).any(1)[:, None], -torch.ones_like(covered), covered)
            classes = torch.where(target["target"] < 0, covered.argmax(1), target["target"])
            here = (each * one_hot(classes, z)).sum(1, keepdim=True)
        return {"target": classes, "mask": torch.where(asked, here[:, 0], mask)}

    def score(self, outputs: Any, target: Mapping[str, Tensor]) -> Float[Tensor, " b"]:
        """sum(mask * z_c) / sum(mask)."""
        mask = target["mask"]
        z = _logits(outputs)
        if _binary(z):
            own = z * (2 * target["target"] - 1).to(z.dtype)[:, None, None, None]
            own = own + (1 - target["target"]).to(z.dtype)[:, None, None, None] if self.probabilities else own
        else:
            own = weighed(z, one_hot(target["target"], z)).sum(1, keepdim=True)
        own = _stretched(own, mask)[:, 0]
        weight = mask.to(own.dtype)
        return (own * weight).sum((1, 2)) / weight.sum((1, 2)).clamp_min(1e-6)

    def explained(self, target: Mapping[str, Tensor]) -> Tensor:
        """The classes."""
        return target["target"]

    def settled(self, model: nn.Module, outputs: Any) -> SegmentationAdapter:
        """Knowing whether one channel holds probabilities, from what the model gives for one image."""
        if self.probabilities is not None or outputs is None:
            return self
        try:
            z = _logits(outputs).detach()
        except ModelError:  # said by `check`, of all images
            return self
        between = bool((z >= 0).all() and (z <= 1).all())
        origin = outputs.reading if isinstance(outputs, Answer) and outputs.reading else Origin()
        if origin.ranked:
            raise ModelError(
                f"the model's outputs {tuple(z.shape)} are in the order of their values ({origin.maker}): which class "
                "a channel has is another one for each pixel. Explain a model that returns its scores in the order of "
                "the classes"
            )
        if _ends_in_sigmoid(model):
            origin = replace(origin, link="sigmoid")
        return replace(self, probabilities=_binary(z) and between, seen=_seen(z, between, origin, said(outputs)))

    def classes_of(self, outputs: Any) -> int:
        """The channels; two of one channel."""
        z = _logits(outputs)
        return 2 if _binary(z) else int(z.shape[1])

    def doubts(self, target: Mapping[str, Tensor], method: str) -> Iterator[str]:
        """That probabilities are explained, or one of several outputs."""
        yield from self.seen
        if self.probabilities:
            yield (
                "the model's one channel lies in [0,1] and is read as a probability: predicted above 1/2, and "
                "explained as it is, where a logit would not saturate. SegmentationAdapter(probabilities=False) reads "
                "logits"
            )

    def sample(self, outputs: Any, batch: int, generator: torch.Generator) -> dict[str, Tensor]:
        """As `sample_for`, with masks at the logits' size."""
        return self._sample(outputs, _logits(outputs).shape[2:], batch, generator)

    def sample_for(self, images: Tensor, outputs: Any, batch: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Random classes in random boxes, every second the model's own class and region, at the images' size."""
        return self._sample(outputs, images.shape[2:], batch, generator)

    def _sample(self, outputs: Any, size: Sequence[int], batch: int, generator: torch.Generator) -> dict[str, Tensor]:
        z = _logits(outputs)
        h, w = size
        mask = torch.zeros(batch, h, w, dtype=z.dtype)
        for row in mask:
            y, x = (int(torch.randint(0, max(n // 2, 1), (1,), generator=generator)) for n in (h, w))
            row[y : y + h // 2 + 1, x : x + w // 2 + 1] = 1
        classes = torch.randint(2 if _binary(z) else z.shape[1], (batch,), generator=generator)
        classes[1::2], mask[1::2] = -1, PREDICTED
        return {"target": classes, "mask": mask}

    def layers(self, runs: Sequence[Run]) -> list[LayerName]:
        """The last maps of the backbone, of which the head makes logits; the deepest where no head is named."""
        head = next((i for i, run in enumerate(runs) if run.leads and run.name.startswith(HEADS)), 0)
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
                    f"mask of image {i} has values down to {float(mask[i].min()):g}; weights of pixels are 0 and more, "
                    "or -1 for all of them: where the model predicts the class"
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
            raise InputError(f"{kind} {shown} is empty or outside the image of {w}x{h} pixels (width x height)")
        y, x = (torch.arange(n, device=device, dtype=torch.float64) + 0.5 for n in (h, w))
        inside = (x >= x0[:, None]) & (x <= x1[:, None]), (y >= y0[:, None]) & (y <= y1[:, None])
        mask = (inside[1][:, :, None] & inside[0][:, None, :]).to(images.dtype)
        if not bool(mask.flatten(1).any(1).all()):
            raise InputError(f"{kind} {rows.tolist()} holds no pixel's centre; make it larger")
        return mask


def _check_axes(z: Tensor, mask: Sequence[int]) -> None:
    """ModelError where the first axis is not the images', or where the classes come last: the first two axes, and not
    the last two, are the image at a stride.
    """
    (b, p, q, r), (n, *image) = z.shape, mask
    if b != n:
        raise ModelError(
            f"the model returned ({b}, {p}, {q}, {r}) for {n} image{'s' * (n != 1)}: its first axis is not that of the "
            "images, and this adapter reads [b,k,h,w]"
        )

    def strided(h: int, w: int) -> bool:
        return h > 1 and image[0] % h == 0 and image[1] % w == 0 and image[0] // h == image[1] // w

    if strided(p, q) and not strided(q, r):
        raise ModelError(
            f"the model returned ({b}, {p}, {q}, {r}) for images of {image[0]}x{image[1]}: its classes come last, and "
            "this adapter reads [b,k,h,w]; explain it inside a module that returns outputs.permute(0, 3, 1, 2)"
        )


def _seen(z: Tensor, between: bool, origin: Origin, outputs: Any) -> tuple[str, ...]:
    """What is to be said of logits that are none, and of several outputs."""
    seen, ones = [], torch.ones_like(z[:, 0])
    logits = "explained as they are, where a logit would not saturate; return the logits, without"
    if not _binary(z) and between and torch.allclose(z.sum(1), ones, atol=1e-3):
        seen.append(f"the model's outputs lie in [0,1] and are {logits} the softmax")
    elif not _binary(z) and between and (origin.link == "sigmoid" or (float(z.min()) < 0.1 and float(z.max()) > 0.9)):
        seen.append(f"the model's outputs lie in [0,1] and are {logits} the sigmoid")
    elif not _binary(z) and bool((z <= 0).all()) and torch.allclose(z.exp().sum(1), ones, atol=1e-3):
        seen.append(f"the model's outputs are log-probabilities, {logits} the log_softmax")
    elif origin.made and not (_binary(z) and between):
        seen.append(
            f"the model's outputs are made of a {origin.made} and are no logits; they are explained as they are. A "
            "model that returns its logits is explained by them"
        )
    maps = _maps(outputs)
    chosen = _chosen(maps)
    if len(maps) > 1 and chosen not in NAMES:
        others = ", ".join(f"{name!r} {list(v.shape)}" for name, v in maps.items() if name != chosen)
        seen.append(
            f"of the model's {len(maps)} outputs {chosen!r} {list(maps[chosen].shape)} is explained, and not {others}; "
            "choose another through a module that returns it"
        )
    return tuple(seen)


def _ends_in_sigmoid(model: nn.Module) -> bool:
    return isinstance(list(model.modules())[-1], nn.Sigmoid)


def _binary(z: Tensor) -> bool:
    return z.shape[1] == 1


def _logits(outputs: Any) -> Float[Tensor, "b k h w"]:
    maps = _maps(outputs)
    return maps[_chosen(maps)] if maps else found(said(outputs), NAMES, 4, "logits [b,k,h,w], of one channel [b,1,h,w]")


def _maps(outputs: Any) -> dict[str, Tensor]:
    """Every output of four axes by its name."""
    return {name: v for name, v in named(said(outputs)).items() if v.dim() == 4}


def _chosen(maps: Mapping[str, Tensor]) -> str:
    """The one that is the segmentation: told by the names alone."""
    own = next((name for name in NAMES if name in maps), None)
    if own is not None or not maps:
        return own or ""
    called = next((n for pattern in CALLED for n in maps if re.fullmatch(pattern, n.rpartition(".")[2].lower())), None)
    return called or next((name for name in maps if not AUXILIARY.search(name.lower())), next(iter(maps)))


def _stretched(z: Tensor, mask: Tensor) -> Tensor:
    if z.shape[2:] == mask.shape[1:]:
        return z
    return nn.functional.interpolate(z, size=mask.shape[1:], mode="bilinear", align_corners=False)
