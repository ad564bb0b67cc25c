"""Which of a captioner's outputs are the logits of the next words, and whether they are logits:
told once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from camport.adapters.answer import Answer, said
from camport.adapters.classification.outputs import NAMES
from camport.adapters.named_outputs import chosen_name, named
from camport.adapters.reading import found
from camport.core.maps.loop import traced
from camport.core.running.derivative import wide
from camport.errors import ModelError

Kind = Literal["logits", "probabilities", "log-probabilities", "negative log-probabilities"]
TOLERANCE = 1e-2
"""How far a row of probabilities may be from 1, in half precision."""


@dataclass(frozen=True)
class NextWords:
    """How the logits [b,t,v] of the next words are read out of a captioner's outputs;
    made by `reading`.

    Attributes:
        index: of the tensor among the floating-point tensors of the outputs.
        name: its own, dotted; empty where the model returns nothing else.
        kind: what its rows are.
        others: names and shapes of the tensors that may be the words as well.
    """

    index: int = 0
    name: str = ""
    kind: Kind = "logits"
    others: tuple[tuple[str, tuple[int, ...]], ...] = ()


def heard(
    outputs: Any,
    tokens: Int[Tensor, "b t"],
    model: nn.Module,
    read: NextWords | None,
    words: int,
    chosen: Any,
) -> Answer:
    """What the model said behind `tokens`, with the logits or log-probabilities [b,t,v] in it.

    Args:
        outputs: the model's own.
        tokens: that it was called on.
        model: may know how many words there are.
        read: the reading of an earlier call; None reads the outputs.
        words: how many the user knows; 0 where that is not told.
        chosen: the user's word for the output: a name or a number; None where there is none.

    Raises:
        ModelError: no tensor that may be the next words, or one whose axes are others.
        UnknownNameError: no such output.
    """
    b, t = tokens.shape
    first = (
        None
        if read
        else reading(outputs, b, t, _vocabularies(model) | ({words} if words else set()), chosen)
    )
    settled = read or first
    assert settled is not None
    z = list(_tensors(outputs).values())[settled.index]
    if not traced():
        _check(z, b, t, _vocabularies(model))
    return Answer(outputs, b, rows(outputs, settled, t), first)


def rows(outputs: Any, read: NextWords, t: int) -> Float[Tensor, "b t v"]:
    """Logits or log-probabilities of the next word at each of the last t places."""
    z = list(_tensors(said(outputs)).values())[read.index]
    z = wide(z[:, z.shape[1] - t :])  # a log-probability in half precision has a step of 1/128
    if read.kind == "negative log-probabilities":
        return -z
    return z.clamp_min(torch.finfo(z.dtype).tiny).log() if read.kind == "probabilities" else z


def reading(outputs: Any, b: int, t: int, vocabularies: set[int], chosen: Any) -> NextWords:
    """How to read the next words out of `outputs` for `b` images and `t` tokens;
    their values are looked at."""
    tensors = _tensors(outputs)
    ranked = {name: v for name, v in tensors.items() if v.dim() == 3}
    if chosen is not None:
        name = chosen_name(chosen, tensors)
        if name not in ranked:
            raise ModelError(
                f"output {name!r} is {tuple(tensors[name].shape)}; a captioner's are logits [b,t,v]"
            )
        return _read(name, tensors)
    if not ranked:
        # raises what there is to be said
        found(outputs, ("logits",), 3, "logits [b,t,v] of a captioner")
    if "logits" in ranked:
        return _read("logits", tensors)
    evidence: list[Callable[[str], bool]] = [
        lambda name: ranked[name].shape[0] == b and ranked[name].shape[1] >= t,
        lambda name: ranked[name].shape[2] in vocabularies,
        *(_called(pattern) for pattern in NAMES),
    ]
    left = list(ranked)
    for speaks in evidence:
        left = [name for name in left if speaks(name)] or left
    # attention weights are probabilities too
    left = [name for name in left if _kind(ranked[name]) != "probabilities"] or left
    others = tuple((name, tuple(ranked[name].shape)) for name in left[1:])
    return replace(_read(left[0], tensors), others=others)


def doubts(read: NextWords, choose: str) -> Iterator[str]:
    """That there are other outputs that may be the next words; `choose` says how,
    with {name} for a name."""
    if read.others:
        names = " and ".join(f"{name!r} {list(shape)}" for name, shape in read.others)
        yield (
            f"the model gives {len(read.others) + 1} outputs that may be the logits of its words;"
            f" {read.name!r} is explained, and {names} {'is' if len(read.others) == 1 else 'are'}"
            f" not. Choose by name: {choose.format(name=read.name)}"
        )


def _read(name: str, tensors: Mapping[str, Tensor]) -> NextWords:
    z = tensors[name]
    steps = z.detach().diff(dim=2)
    if (
        steps.shape[2] > 2
        and bool(steps.any())
        and (bool((steps >= 0).all()) or bool((steps <= 0).all()))
    ):
        raise ModelError(
            f"the model's outputs {tuple(z.shape)} are in the order of their values: which word a"
            " column has is another one at each place. Explain a model that returns its logits in"
            " the order of the words"
        )
    return NextWords(list(tensors).index(name), name, _kind(z))


def _kind(z: Tensor) -> Kind:
    z = z.detach().double()
    if bool(((z >= 0) & (z <= 1)).all()) and bool(((z.sum(2) - 1).abs() < TOLERANCE).all()):
        return "probabilities"
    for sign, kind in ((1, "log-probabilities"), (-1, "negative log-probabilities")):
        if bool((sign * z <= 0).all()) and bool(
            (((sign * z).exp().sum(2) - 1).abs() < TOLERANCE).all()
        ):
            return cast(Kind, kind)
    return "logits"


def _called(pattern: str) -> Callable[[str], bool]:
    return lambda name: re.fullmatch(pattern, name.rpartition(".")[2].lower()) is not None


def _tensors(outputs: Any) -> dict[str, Tensor]:
    tensors = named(outputs)
    own = getattr(outputs, "logits", None)
    return {"logits": own} if isinstance(own, Tensor) and not tensors else tensors


def _vocabularies(model: nn.Module) -> set[int]:
    """How many words the model may know: as many as it embeds."""
    return {module.num_embeddings for module in model.modules() if isinstance(module, nn.Embedding)}


def _check(z: Tensor, b: int, t: int, vocabularies: set[int]) -> None:
    """ModelError for other axes than [b,t,v]."""
    shape = tuple(z.shape)
    if shape[0] != b:
        swapped = "; return outputs.transpose(0, 1)" if shape[1] == b and shape[0] >= t else ""
        raise ModelError(
            f"the model gives {shape} for {b} image{'s' * (b != 1)} and {t} tokens: its first axis"
            f" is not that of the images, and a captioner's logits are [b,t,v]{swapped}"
        )
    if shape[2] == t and shape[1] != t and shape[1] in vocabularies:
        raise ModelError(
            f"the model gives {shape} for {t} tokens: the words are on its second axis, and a"
            " captioner's logits are [b,t,v]; explain it inside a module that returns"
            " outputs.transpose(1, 2)"
        )
    if shape[1] < t:
        shorter = (
            "; one that leaves out the last token is called with a token more: model(images,"
            " F.pad(tokens, (0, 1)))"
        )
        raise ModelError(
            f"the model gives {shape}, {shape[1]} rows for {t} tokens, and a captioner's logits"
            " [b,t,v] have a row for each, of the token that"
            f" follows{shorter if shape[1] == t - 1 else ''}"
        )
