"""Which of a model's outputs is the segmentation, and what is doubtful of its logits."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from camport.adapters.answer import said
from camport.adapters.classification.outputs import NAMES as CLASSES
from camport.adapters.lineage import Origin
from camport.adapters.named_outputs import named
from camport.adapters.reading import found
from camport.errors import ModelError

NAMES = ("out", "logits")
"""What the segmentation is called in torchvision's and transformers' models."""

CALLED = (
    r"main",
    r"seg(mentation)?s?(_.*)?",
    r"semantics?(_.*)?",
    *CLASSES,
    r"final(_.*)?",
    r"masks?(_.*)?",
)
AUXILIARY = re.compile(
    r"(^|[_.])(aux|auxiliary|side|deep|edges?|boundar(y|ies)|feat(ure)?s?)\d*($|[_.])"
)
"""What it is called elsewhere, the surest first, and what outputs beside it are called."""


def check_axes(z: Tensor, mask: Sequence[int]) -> None:
    """ModelError where the first axis is not the images', or where the classes come last: the first
    two axes, and not the last two, are the image at a stride.
    """
    (b, p, q, r), (n, *image) = z.shape, mask
    if b != n:
        raise ModelError(
            f"the model returned ({b}, {p}, {q}, {r}) for {n} image{'s' * (n != 1)}: its first axis"
            " is not that of the images, and this adapter reads [b,k,h,w]"
        )

    def strided(h: int, w: int) -> bool:
        return h > 1 and image[0] % h == 0 and image[1] % w == 0 and image[0] // h == image[1] // w

    if strided(p, q) and not strided(q, r):
        raise ModelError(
            f"the model returned ({b}, {p}, {q}, {r}) for images of {image[0]}x{image[1]}: its"
            " classes come last, and this adapter reads [b,k,h,w]; explain it inside a module that"
            " returns outputs.permute(0, 3, 1, 2)"
        )


def doubtful(z: Tensor, between: bool, origin: Origin, outputs: Any) -> tuple[str, ...]:
    """What is to be said of logits that are none, and of several outputs."""
    seen, ones = [], torch.ones_like(z[:, 0])
    logits = "explained as they are, where a logit would not saturate; return the logits, without"
    if not is_binary(z) and between and torch.allclose(z.sum(1), ones, atol=1e-3):
        seen.append(f"the model's outputs lie in [0,1] and are {logits} the softmax")
    elif (
        not is_binary(z)
        and between
        and (origin.link == "sigmoid" or (float(z.min()) < 0.1 and float(z.max()) > 0.9))
    ):
        seen.append(f"the model's outputs lie in [0,1] and are {logits} the sigmoid")
    elif (
        not is_binary(z)
        and bool((z <= 0).all())
        and torch.allclose(z.exp().sum(1), ones, atol=1e-3)
    ):
        seen.append(f"the model's outputs are log-probabilities, {logits} the log_softmax")
    elif origin.made and not (is_binary(z) and between):
        seen.append(
            f"the model's outputs are made of a {origin.made} and are no logits; they are explained"
            " as they are. A model that returns its logits is explained by them"
        )
    maps = maps_of(outputs)
    own = chosen(maps)
    if len(maps) > 1 and own not in NAMES:
        others = ", ".join(f"{name!r} {list(v.shape)}" for name, v in maps.items() if name != own)
        seen.append(
            f"of the model's {len(maps)} outputs {own!r} {list(maps[own].shape)} is"
            f" explained, and not {others}; choose another through a module that returns it"
        )
    return tuple(seen)


def ends_in_sigmoid(model: nn.Module) -> bool:
    """Whether the last of its modules is a logistic function."""
    return isinstance(list(model.modules())[-1], nn.Sigmoid)


def is_binary(z: Tensor) -> bool:
    """Whether one channel tells two classes."""
    return z.shape[1] == 1


def logits_of(outputs: Any) -> Float[Tensor, "b k h w"]:
    """The segmentation among the outputs; ModelError where there is none."""
    maps = maps_of(outputs)
    return (
        maps[chosen(maps)]
        if maps
        else found(said(outputs), NAMES, 4, "logits [b,k,h,w], of one channel [b,1,h,w]")
    )


def maps_of(outputs: Any) -> dict[str, Tensor]:
    """Every output of four axes by its name."""
    return {name: v for name, v in named(said(outputs)).items() if v.dim() == 4}


def chosen(maps: Mapping[str, Tensor]) -> str:
    """The one that is the segmentation: told by the names alone."""
    own = next((name for name in NAMES if name in maps), None)
    if own is not None or not maps:
        return own or ""
    called = next(
        (
            n
            for pattern in CALLED
            for n in maps
            if re.fullmatch(pattern, n.rpartition(".")[2].lower())
        ),
        None,
    )
    return called or next(
        (name for name in maps if not AUXILIARY.search(name.lower())), next(iter(maps))
    )


def stretched(z: Tensor, mask: Tensor) -> Tensor:
    """Logits at the size of the mask."""
    if z.shape[2:] == mask.shape[1:]:
        return z
    return nn.functional.interpolate(z, size=mask.shape[1:], mode="bilinear", align_corners=False)
