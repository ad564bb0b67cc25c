"""Which of a model's outputs are its classes, and whether they are logits: told once, from names,
shapes and values."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from camport.adapters.answer import Answer
from camport.adapters.lineage import LINEAR, MOVES, Lineage, Link, Origin
from camport.adapters.named_outputs import chosen_name, named
from camport.core.running.dataflow import Dataflow
from camport.errors import CamportError, ModelError

NAMES = (
    r".*logits?(_.*)?",
    r"cls|class(es)?|cls_?(score|prob|pred)s?|class_?(score|prob|pred)s?|classification|labels?",
    r"pred(iction)?s?|prob(abilitie|ability|)s?|scores?",
    r"out(put)?s?|y|y_hat",
)
"""What classes are called among several outputs, the surest first."""

LOGISTIC = ("hardsigmoid", "reciprocal", "__rdiv__", "__rtruediv__", "rdiv")
DIVISIONS, MANY = ("", "div", "true_divide", "__div__", "__truediv__"), 8
"""What makes numbers between 0 and 1 of logits, and what may: an average,
or what is not seen in a scripted model."""

SUM, HALF_SUM = 1e-4, 1e-2
"""How far a row of probabilities may be from 1, in float32 and wider and in half precision."""


@dataclass(frozen=True)
class Reading:
    """How classes are read out of a model's outputs; made by `reading`.

    Attributes:
        index: of the tensor among the floating-point tensors of the outputs.
        name: its own, dotted; empty where the model returns nothing else.
        shape: of the tensor for one image.
        link: what the tensor is of logits; None where these are logits.
        found: whether the logits behind it are at hand.
        made: what it is made of by a function that makes neither logits nor probabilities of it,
            such as percent; of a link, what its logits are of others.
        others: names and shapes of the tensors that may be the classes as well, where nobody chose.
    """

    index: int = 0
    name: str = ""
    shape: tuple[int, ...] = ()
    link: Link | None = None
    found: bool = False
    made: Link | None = None
    others: tuple[tuple[str, tuple[int, ...]], ...] = ()


def reading(
    outputs: Any,
    model: nn.Module,
    lineage: Lineage,
    chosen: str | int | None,
    row: Callable[[Tensor], Tensor | None],
    images: int | None = None,
    known: int | None = None,
    task: str = "classification",
    dataflow: Dataflow | None = None,
) -> Reading:
    """How to read the classes out of `outputs`.

    Args:
        outputs: of a few images; their values are looked at, so this is not for tracing.
        model: may know its number of classes, and its outputs' names.
        lineage: was active as the model ran.
        chosen: the user's word for it: a name, or a number among the floating-point tensors.
        row: a tensor as [b,k], None where it cannot be one.
        images: how many images the outputs are of, where that is known.
        known: how many classes there are, where the user told it.
        task: the adapter's name, for errors.
        dataflow: was active as the model ran, where several outputs may be made of one another.

    Raises:
        ModelError: no tensor that may be classes.
        UnknownNameError: no such output.
    """
    tensors = named(outputs, getattr(model, "output_names", ()))
    rows = {name: z for name, tensor in tensors.items() if (z := row(tensor)) is not None}
    if chosen is not None:
        name = chosen_name(chosen, tensors)
        if name not in rows:
            raise ModelError(
                f"output {name!r} is {tuple(tensors[name].shape)}; the {task} adapter reads [b,k]"
            )
        return _read(name, rows[name], tensors, lineage)
    if "logits" in tensors and "logits" not in rows:
        rows = {}
    if not rows:
        shapes = ", ".join(str(tuple(v.shape)) for v in list(tensors.values())[:4])
        found = (
            "the model returned"
            f" {shapes or type(outputs).__name__ + ' without a floating-point tensor to explain'}"
        )
        raise ModelError(
            f"{found}; the {task} adapter reads [b,k]. For other tasks see `camport adapters`"
        )
    if "logits" in rows:
        return _read("logits", rows["logits"], tensors, lineage)
    distinct = _distinct(rows)
    origins = {n: lineage.of(tensors[n]) for n in distinct}
    fed = _fed({n: tensors[n] for n in distinct if not origins[n].ranked}, dataflow)
    name = _classes({n: rows[n] for n in distinct}, origins, model, images, known, fed)
    # rows of other sizes are none of them
    sure = known is not None and rows[name].shape[1] == known
    others = tuple(
        (n, tuple(tensors[n].shape))
        for n in distinct
        if n != name and (not sure or rows[n].shape[1] == known)
    )
    return dataclasses.replace(_read(name, rows[name], tensors, lineage), others=others)


def answered(
    call: Callable[[], Any],
    model: nn.Module,
    images: int,
    read: Reading | None,
    chosen: str | int | None,
    row: Callable[[Tensor], Tensor | None],
    known: int | None = None,
    task: str = "classification",
) -> Answer:
    """What `call` says of so many images, with the logits behind its probabilities,
    and the reading where it is new.

    Args:
        call: calls the model.
        model: that it calls.
        images: how many it is called on.
        read: the reading of an earlier call; None reads the outputs.
        chosen, row, known, task: as in `reading`.
    """
    if read is not None and not read.found:
        return Answer(call(), images)
    lineage, dataflow = Lineage(ancestry=read is None), Dataflow()
    with lineage, nullcontext() if read else dataflow:
        outputs = call()
    names, first = getattr(model, "output_names", ()), None
    if read is None:
        try:
            read = first = reading(
                outputs, model, lineage, chosen, row, images, known, task, dataflow
            )
        except CamportError as error:
            if chosen is not None:
                raise
            # said where they are read: layers are listed whatever a model returns
            return Answer(outputs, images, refused=error)
    logits = (
        lineage.of(list(named(outputs, names).values())[read.index]).logits if read.found else None
    )
    if read.found and logits is None:
        raise ModelError(
            f"the {read.link} before {shown(read)} ran in the first pass and not in this one"
        )
    return Answer(outputs, images, logits, first)


def choice(read: Reading) -> str:
    """What stands behind an error where another output may have been meant;
    empty where there is one alone."""
    names = " or ".join(repr(name) for name, _ in read.others)
    return (
        f", by its output {read.name!r}; choose {names} with output=... where that was meant"
        if names
        else ""
    )


def shown(read: Reading) -> str:
    """What the classes are read from."""
    return f"output {read.name!r}" if read.name else "the output"


def doubts(read: Reading, score_as: str, choose: str) -> Iterator[str]:
    """What a user should know of how the outputs are read.

    Args:
        read: by `reading`.
        score_as: the score that is made of them.
        choose: how another output is chosen, with {name} for its name.
    """
    if read.others:
        names = " and ".join(f"{name!r} {list(shape)}" for name, shape in read.others)
        yield (
            f"the model gives {len(read.others) + 1} outputs that may be its classes; {read.name!r}"
            f" {list(read.shape)} is explained, and {names}"
            f" {'is' if len(read.others) == 1 else 'are'} not. Choose by name:"
            f" {choose.format(name=read.name)}"
        )
    if read.made and read.found and score_as != "regression":
        yield (
            f"the model takes a {read.link} of what is made of a {read.made}: what stands before"
            " the last, and is explained, are no logits. A model that returns its logits is"
            " explained by them"
        )
    elif read.made and score_as != "regression":
        yield (
            f"the model's outputs are made of a {read.made} and are no probabilities themselves: "
            f"{_explained(read, score_as)}. A model that returns its logits is explained by them"
        )
    if read.link and not read.found and score_as != "regression":
        kind = "log-probabilities" if read.link.startswith("log") else "probabilities"
        yield (
            f"the model's outputs are {kind}, and the logits behind them were not found:"
            f" {_explained(read, score_as)}. A model that returns its logits is explained by them"
        )


def _explained(read: Reading, score_as: str) -> str:
    if score_as == "contrast":
        return "log-probabilities are contrasted"
    if score_as == "binary":
        return "the logit is computed of the probability"
    return f"the score {score_as!r} is made of them as they are"


def _read(name: str, z: Tensor, tensors: Mapping[str, Tensor], lineage: Lineage) -> Reading:
    tensor = tensors[name]
    origin = lineage.of(tensor)
    if origin.ranked and z.shape[1] > 1:
        raise ModelError(
            f"the model's outputs {tuple(tensor.shape)} are in the order of their values"
            f" ({origin.maker}): which class a column has is another one for each image. Explain a"
            " model that returns its scores in the order of the classes, or a function of the"
            " outputs (FunctionAdapter)"
        )
    found = origin.logits is not None and origin.logits.shape == tensor.shape
    link = origin.link if found else _looks_like(z, origin)
    made = origin.made if found else origin.link or origin.made if link is None else None
    return Reading(list(tensors).index(name), name, tuple(tensor.shape), link, found, made)


def _looks_like(z: Tensor, origin: Origin) -> Link | None:
    """Probabilities that no softmax is known to have made,
    by their values and by what made them."""
    maker = origin.maker
    if maker in LINEAR:
        return None
    tolerance = HALF_SUM if z.dtype in (torch.float16, torch.bfloat16) else SUM
    z = z.detach().double()
    if (
        z.shape[1] > 1
        and bool((z <= 0).all())
        and bool(((z.exp().sum(1) - 1).abs() < tolerance).all())
    ):
        return "log_softmax"
    if not bool(((z >= 0) & (z <= 1)).all()):
        return None
    if z.shape[1] > 1 and bool(((z.sum(1) - 1).abs() < tolerance).all()):
        return "softmax"
    if origin.made in ("softmax", "sigmoid"):
        return "sigmoid"
    # logits may lie between 0 and 1 by chance, those of many classes hardly do
    return "sigmoid" if maker in LOGISTIC or (maker in DIVISIONS and z.shape[1] >= MANY) else None


def _distinct(rows: Mapping[str, Tensor]) -> list[str]:
    """Names of tensors that do not say the same: of equal ones the first,
    of probabilities and logits the logits."""
    kept: list[str] = []
    for name, z in rows.items():
        same = next(
            (other for other in kept if z.shape == rows[other].shape and _same(rows[other], z)),
            None,
        )
        if same is None:
            kept.append(name)
        elif not torch.equal(rows[same], z) and _made_of(rows[same], z):
            kept[kept.index(same)] = name
    return kept


def _same(a: Tensor, b: Tensor) -> bool:
    return torch.equal(a, b) or _made_of(a, b) or _made_of(b, a)


def _made_of(p: Tensor, z: Tensor) -> bool:
    """Whether one is the probabilities, or their logarithm, of the other."""
    tolerance = HALF_SUM if z.dtype in (torch.float16, torch.bfloat16) else SUM
    z = z.detach().double()
    made = [z.sigmoid()] if z.shape[1] == 1 else [z.softmax(1), z.log_softmax(1), z.sigmoid()]
    return any(bool(((p - v).abs() < tolerance).all()) for v in made)


def _classes(
    rows: Mapping[str, Tensor],
    origins: Mapping[str, Origin],
    model: nn.Module,
    images: int | None,
    told: int | None,
    fed: set[str],
) -> str:
    """The name of the classes: of those left by each piece of evidence in turn, the first."""
    known = _known_classes(model)

    def called(pattern: str) -> Callable[[str], bool]:
        return lambda name: re.fullmatch(pattern, name.rpartition(".")[2].lower()) is not None

    deepest = max(origin.depth for origin in origins.values())
    evidence: list[Callable[[str], bool]] = [
        lambda name: rows[name].shape[0] == images,
        lambda name: rows[name].shape[1] > 1,
        lambda name: rows[name].shape[1] == told,
        *map(called, NAMES),
        lambda name: rows[name].shape[1] == known,
        # an attention is a softmax too, of which the classes are made
        lambda name: (origins[name].link or "").endswith("softmax") and name not in fed,
        lambda name: origins[name].depth == deepest,
    ]
    left = list(rows)
    for speaks in evidence:
        left = [name for name in left if speaks(name)] or left
    return left[0]


def _fed(tensors: Mapping[str, Tensor], dataflow: Dataflow | None) -> set[str]:
    """Names of the tensors that others are made of, in whatever layout."""
    if dataflow is None:
        return set()
    own = {
        name: dataflow.unmoved(dataflow.number(tensor), MOVES) for name, tensor in tensors.items()
    }
    behind = {name: dataflow.behind(number) for name, number in own.items()}
    return {a for a in own if any(own[a] in behind[b] for b in own if b != a)}


def _known_classes(model: nn.Module) -> int | None:
    config = getattr(model, "config", None)
    for holder, name in ((model, "num_classes"), (config, "num_labels"), (model, "nc")):
        count = getattr(holder, name, None)
        if isinstance(count, int) and not isinstance(count, bool):
            return count
    return None
