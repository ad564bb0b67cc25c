"""Embeddings: how near an image lies to a reference."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from camport.adapters.answer import Answer, said
from camport.adapters.classification.outputs import NAMES as CLASSES
from camport.adapters.classification.outputs import Reading
from camport.adapters.named_outputs import chosen_name, named
from camport.adapters.reading import a_row_each, described, numbers
from camport.adapters.text.beside_text import IMAGE, TEXT
from camport.core.adapter import Adapter
from camport.errors import InputError, ModelError

Nearness = Literal["cosine", "dot", "distance"]
NEARNESS = ("cosine", "dot", "distance")
NAMES = ("image_embeds", "embedding", "embeddings", "pooler_output")


@dataclass(frozen=True)
class SimilarityAdapter(Adapter):
    """Explains what makes an image's embedding e [b,d] lie near a reference r:
    why the two are alike.

    The model gives e as a tensor [b,d], or as `image_embeds` or `pooler_output` of a structure; of
    several [b,d] the one that is called like an image's, not like a text's, and a DoubtWarning
    names the others. `target` is the reference: a vector [d] or [b,d], or an image [3,H,W] or
    [b,3,H,W], which the model embeds.

    Args:
        score_as: what y is: "cosine": e . r / (|e| |r|). "dot": e . r. "distance": -|e - r|.
        output: which of several outputs is the embedding: a key, a field, or its number.
        reading: how outputs are read; told at the first call.
    """

    name: ClassVar[str] = "similarity"
    title: ClassVar[str] = "Likeness of an embedding to a reference image or vector"
    settles_in_passing: ClassVar[bool] = True

    score_as: Nearness = "cosine"
    output: str | int | None = None
    reading: Reading | None = None

    def __post_init__(self) -> None:
        if self.score_as not in NEARNESS:
            raise InputError(f"score_as is {self.score_as!r}; it is one of {', '.join(NEARNESS)}")

    @property
    def inputs(self) -> tuple[str, ...]:
        """`reference` [b,d]."""
        return ("reference",)

    def prepare_for(
        self, model: nn.Module, target: Any, images: Float[Tensor, "b c H W"]
    ) -> dict[str, Tensor]:
        """As `prepare`; a reference image becomes its embedding."""
        if isinstance(target, Tensor) and target.dim() in (3, 4):
            pictures = target if target.dim() == 4 else target[None]
            if (
                pictures.shape[0] not in (1, images.shape[0])
                or pictures.shape[1] != images.shape[1]
            ):
                raise InputError(
                    f"the reference image has shape {tuple(target.shape)}; wanted"
                    f" [{images.shape[1]},H,W], or one for each of {images.shape[0]} images"
                )
            target = self._embedding(self.call(model, pictures.to(images, copy=True)))
            target = target[0] if target.shape[0] == 1 else target
        return self.prepare(target, images)

    def call(self, model: nn.Module, images: Float[Tensor, "b c H W"]) -> Any:
        """The model's outputs, with how they are read."""
        outputs = model(images)
        first = None if self.reading else _reading(outputs, images.shape[0], self.output)
        return Answer(outputs, images.shape[0], None, first)

    def said(self, outputs: Any) -> Any:
        """The model's own output."""
        return said(outputs)

    def settled(self, model: nn.Module, outputs: Any) -> SimilarityAdapter:
        """Knowing which of the outputs is the embedding."""
        read = self.reading or (outputs.reading if isinstance(outputs, Answer) else None)
        return replace(self, reading=read)

    def doubts(self, target: Mapping[str, Tensor], method: str) -> Iterator[str]:
        """That other outputs may be the embedding as well."""
        if self.reading and self.reading.others:
            names = " and ".join(f"{name!r} {list(shape)}" for name, shape in self.reading.others)
            yield (
                "the model gives several outputs that may be the image's embedding;"
                f" {self.reading.name!r} is explained, and not {names}. Choose by name:"
                f" SimilarityAdapter(output={self.reading.name!r})"
            )

    def prepare(self, target: Any, images: Float[Tensor, "b c H W"]) -> dict[str, Tensor]:
        """The reference as [b,d]."""
        if target is None:
            raise InputError(
                "a similarity needs its reference as the target: a vector [d] or [b,d], or an image"
            )
        shape = "a vector [d] or [b,d], or an image [3,H,W] or [b,3,H,W]"
        given = numbers(target, "reference", shape, images.dtype, images.device)
        reference = a_row_each(given, 2, images.shape[0], "reference", shape)
        if not bool(reference.isfinite().all()):
            raise InputError("reference has values that are not finite")
        return {"reference": reference}

    def check(self, outputs: Any, target: Mapping[str, Tensor]) -> None:
        """InputError for a reference of another length, or of none."""
        e, reference = self._embedding(outputs), target["reference"]
        b, d = e.shape
        if b != reference.shape[0]:
            raise ModelError(
                f"the model gives an embedding {tuple(e.shape)} for {reference.shape[0]} "
                f"image{'s' * (reference.shape[0] != 1)}: its first axis is not that of the images"
            )
        if reference.shape[1] != d:
            raise InputError(
                f"the reference has {reference.shape[1]} numbers, the model's embeddings {d}"
            )
        if self.score_as == "cosine" and not bool(reference.any(1).all()):
            raise InputError(
                "the reference is all zeros, which has no direction; use score_as='distance'"
            )

    def resolve(self, outputs: Any, target: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """As given."""
        return dict(target)

    def score(self, outputs: Any, target: Mapping[str, Tensor]) -> Float[Tensor, " b"]:
        """How near; a tiny number under the roots keeps their gradient finite where a length is
        zero."""
        e = self._embedding(outputs)
        r = target["reference"].to(e.dtype)
        if self.score_as == "distance":
            return -((e - r).square().sum(1) + 1e-12).sqrt()
        dot = (e * r).sum(1)
        if self.score_as == "dot":
            return dot
        return dot / ((e.square().sum(1) + 1e-12).sqrt() * (r.square().sum(1) + 1e-12).sqrt())

    def explained(self, target: Mapping[str, Tensor]) -> Tensor:
        """The references."""
        return target["reference"]

    def sample(self, outputs: Any, batch: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Random references of the embeddings' size."""
        e = self._embedding(outputs)
        drawn = torch.randn(batch, e.shape[1], generator=generator, dtype=torch.float64)
        return {"reference": (drawn * float(e.std(correction=0)) + float(e.mean())).to(e.dtype)}

    def _embedding(self, outputs: Any) -> Float[Tensor, "b d"]:
        own = said(outputs)
        read = self.reading or (outputs.reading if isinstance(outputs, Answer) else None)
        read = read or _reading(own, None, self.output)
        return _row(list(named(own).values())[read.index])


def _reading(outputs: Any, images: int | None, chosen: str | int | None) -> Reading:
    """Which of the outputs is the embedding [b,d] of the images."""
    tensors = named(outputs)
    rows = {
        name: v
        for name, v in tensors.items()
        if v.dim() == 2 or (v.dim() == 4 and v.shape[2:] == (1, 1))
    }
    if chosen is not None:
        name = chosen_name(chosen, tensors)
        if name not in rows:
            raise ModelError(
                f"output {name!r} is {tuple(tensors[name].shape)}; the similarity adapter reads"
                " [b,d]"
            )
        return Reading(list(tensors).index(name), name)
    if not rows:
        raise ModelError(
            f"the model returned {described(outputs)} without an embedding [b,d]; take its pooled"
            " output"
        )
    own = next((name for name in NAMES if name in rows), None)
    if own is not None:
        return Reading(list(tensors).index(own), own)
    left = list(rows)
    evidence: list[Callable[[str], bool]] = [
        lambda name: images is None or rows[name].shape[0] == images,
        lambda name: bool(IMAGE.search(name.lower())),
        lambda name: not TEXT.search(name.lower()),
        lambda name: (
            not any(
                re.fullmatch(pattern, name.rpartition(".")[2].lower()) for pattern in CLASSES[:3]
            )
        ),
    ]
    for speaks in evidence:
        left = [name for name in left if speaks(name)] or left
    others = tuple((name, tuple(rows[name].shape)) for name in left[1:])
    return Reading(list(tensors).index(left[0]), left[0], others=others)


def _row(tensor: Tensor) -> Float[Tensor, "b d"]:
    return tensor.flatten(1) if tensor.dim() == 4 else tensor
