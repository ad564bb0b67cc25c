"""Embeddings: how near an image lies to a reference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from camport.adapters.reading import a_row_each, numbers
from camport.core.adapter import Adapter
from camport.errors import InputError, ModelError

Nearness = Literal["cosine", "dot", "distance"]
NEARNESS = ("cosine", "dot", "distance")
NAMES = ("image_embeds", "embedding", "embeddings", "pooler_output")


@dataclass(frozen=True)
class SimilarityAdapter(Adapter):
    """Explains what makes an image's embedding e [b,d] lie near a reference r: why the two are alike.

    The model gives e as a tensor [b,d], the first in a tuple, or `image_embeds` or `pooler_output` of a structure.
    `target` is the reference: a vector [d] or [b,d], or an image [3,H,W] or [b,3,H,W], which the model embeds.

    Args:
        score_as: what y is: "cosine": e . r / (|e| |r|). "dot": e . r. "distance": -|e - r|.
    """

    name: ClassVar[str] = "similarity"
    title: ClassVar[str] = "Likeness of an embedding to a reference image or vector"

    score_as: Nearness = "cosine"

    def __post_init__(self) -> None:
        if self.score_as not in NEARNESS:
            raise InputError(f"score_as is {self.score_as!r}; it is one of {', '.join(NEARNESS)}")

    @property
    def inputs(self) -> tuple[str, ...]:
        """`reference` [b,d]."""
        return ("reference",)

    def prepare_for(self, model: nn.Module, target: Any, images: Float[Tensor, "b c H W"]) -> dict[str, Tensor]:
        """As `prepare`; a reference image becomes its embedding."""
        if isinstance(target, Tensor) and target.dim() in (3, 4):
            pictures = target if target.dim() == 4 else target[None]
            if pictures.shape[0] not in (1, images.shape[0]) or pictures.shape[1] != images.shape[1]:
                raise InputError(
                    f"the reference image has shape {tuple(target.shape)}; wanted [{images.shape[1]},H,W], or one for "
                    f"each of {images.shape[0]} images"
                )
            target = _embedding(self.call(model, pictures.to(images, copy=True)))
            target = target[0] if target.shape[0] == 1 else target
        return self.prepare(target, images)

    def prepare(self, target: Any, images: Float[Tensor, "b c H W"]) -> dict[str, Tensor]:
        """The reference as [b,d]."""
        if target is None:
            raise InputError("a similarity needs its reference as the target: a vector [d] or [b,d], or an image")
        shape = "a vector [d] or [b,d], or an image [3,H,W] or [b,3,H,W]"
        given = numbers(target, "reference", shape, images.dtype, images.device)
        reference = a_row_each(given, 2, images.shape[0], "reference", shape)
        if not bool(reference.isfinite().all()):
            raise InputError("reference has values that are not finite")
        return {"reference": reference}

    def check(self, outputs: Any, target: Mapping[str, Tensor]) -> None:
        """InputError for a reference of another length, or of none."""
        d, reference = _embedding(outputs).shape[1], target["reference"]
        if reference.shape[1] != d:
            raise InputError(f"the reference has {reference.shape[1]} numbers, the model's embeddings {d}")
        if self.score_as == "cosine" and not bool(reference.any(1).all()):
            raise InputError("the reference is all zeros, which has no direction; use score_as='distance'")

    def resolve(self, outputs: Any, target: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """As given."""
        return dict(target)

    def score(self, outputs: Any, target: Mapping[str, Tensor]) -> Float[Tensor, " b"]:
        """How near; a tiny number under the roots keeps their gradient finite where a length is zero."""
        e = _embedding(outputs)
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
        e = _embedding(outputs)
        drawn = torch.randn(batch, e.shape[1], generator=generator, dtype=torch.float64)
        return {"reference": (drawn * float(e.std(correction=0)) + float(e.mean())).to(e.dtype)}


def _embedding(outputs: Any) -> Float[Tensor, "b d"]:
    named = [outputs.get(n) if isinstance(outputs, Mapping) else getattr(outputs, n, None) for n in NAMES]
    for value in (*named, *torch.utils._pytree.tree_leaves(outputs)):
        if isinstance(value, Tensor) and value.is_floating_point():
            e = value.flatten(1) if value.dim() == 4 and value.shape[2:] == (1, 1) else value
            if e.dim() == 2:
                return e
    raise ModelError(f"the model returned {type(outputs).__name__} without an embedding [b,d]; take its pooled output")
