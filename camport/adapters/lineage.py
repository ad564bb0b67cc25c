"""Which tensors of a model's end are made of which: the logits behind a softmax,
the features before a classifier.

No graph of the model is needed, nor a gradient: torch's functions tell what they are given and what
they give while a mode is active, in this thread alone, and while a graph is traced as well.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

Link = Literal["softmax", "log_softmax", "sigmoid", "log_sigmoid"]
"""What a tensor is of its logits."""

LINKS: dict[str, Link] = {
    "softmax": "softmax",
    "log_softmax": "log_softmax",
    "sigmoid": "sigmoid",
    "sigmoid_": "sigmoid",
    "expit": "sigmoid",
    "special_expit": "sigmoid",
    "logsigmoid": "log_sigmoid",
    "log_sigmoid": "log_sigmoid",
}
OVER: dict[tuple[str, Link], Link] = {
    ("log", "softmax"): "log_softmax",
    ("log", "sigmoid"): "log_sigmoid",
    ("exp", "log_softmax"): "softmax",
    ("exp", "log_sigmoid"): "sigmoid",
}
"""A function of probabilities that is a link of the same logits."""

# fmt: off
MOVES = frozenset([
    "flatten", "unflatten", "squeeze", "unsqueeze", "reshape", "reshape_as", "view", "view_as",
    "contiguous", "clone", "detach", "alias", "to", "type", "type_as", "float", "double", "half",
    "bfloat16", "cpu", "cuda", "permute", "transpose", "swapaxes", "movedim", "moveaxis", "expand",
    "expand_as", "__getitem__", "narrow", "select", "index_select", "unbind", "split", "chunk",
    "tensor_split", "dropout", "dropout1d", "dropout2d", "requires_grad_",
])
RANKS = frozenset(["topk", "sort", "argsort"])
PLACED = frozenset(["gather", "scatter", "scatter_", "take_along_dim", "index_put", "index_put_"])
TAKES = frozenset(["gather", "take_along_dim", "__getitem__"])
CLAMPS = frozenset(["clamp", "clip", "clamp_min", "clamp_max", "nan_to_num"])
LINEAR = frozenset([
    "linear", "addmm", "mm", "matmul", "__matmul__", "bilinear", "conv1d", "conv2d",
    "conv_transpose1d", "conv_transpose2d", "cdist",
])
# fmt: on


@dataclass(frozen=True)
class Origin:
    """Where a tensor comes from.

    Attributes:
        depth: how many linear layers it has behind it, as far as rows of numbers were seen.
        maker: the name of torch's function that made it; empty where none was seen.
        link: what it is of `logits`; None where it is no function of logits.
        logits: in its own layout.
        made: of what it is a function that none of `LINKS` and `OVER` is, of that alone: an average
            of probabilities, percent, the product of several; of a link, what its logits are of
            others.
        ranked: its columns are in the order of their values, or it holds the places of such.
    """

    depth: int = 0
    maker: str = ""
    link: Link | None = None
    logits: Tensor | None = None
    made: Link | None = None
    ranked: bool = False


class Lineage(TorchFunctionMode):
    """While active, notes the origin of what softmax and logistic functions give.

    Args:
        ancestry: also of every row of numbers, [b,k] or [b,k,1,1], which shapes are looked at for.
    """

    def __init__(self, ancestry: bool = False) -> None:
        super().__init__()
        self.ancestry = ancestry
        self.origins = WeakTensorKeyDictionary()  # of tensors that live: attention's would be many

    def of(self, tensor: Tensor) -> Origin:
        """The origin of a tensor, which knows nothing where none was noted."""
        found: Origin | None = self.origins.get(tensor)
        return found or Origin()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Calls the function, and notes what it gives."""
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        given = args[0] if args else kwargs.get("input")
        if not isinstance(given, Tensor):
            result = func(*args, **kwargs)
            if self.ancestry:
                self._note_rows(result, (args, kwargs), name)
            return result
        logits = given.clone() if name == "sigmoid_" else given  # which is overwritten
        origin = self.origins.get(given)
        result = func(*args, **kwargs)
        link = LINKS.get(name)
        if link is not None and ("sigmoid" in link or _over_classes(args, kwargs)):
            before = origin or Origin()
            inner = before.link or before.made
            if inner == "log_softmax" and "softmax" in link and before.logits is not None:
                logits, inner = before.logits, None  # the same probabilities
            self.origins[result] = Origin(before.depth, name, link, logits, inner, before.ranked)
        elif origin is not None and name in MOVES:
            self._moved(func, origin, result, args, kwargs)
        elif origin is not None and origin.link and (name in CLAMPS or (name, origin.link) in OVER):
            self.origins[result] = replace(origin, link=OVER.get((name, origin.link), origin.link))
        elif self.ancestry:
            self._note_rows(result, (args, kwargs), name)
        return result

    def _moved(self, func: Any, origin: Origin, result: Any, args: Any, kwargs: Any) -> None:
        """The same values in another layout, or a part of them; the logits go the same way."""
        moved = None if origin.logits is None else func(origin.logits, *args[1:], **kwargs)
        parts = [result] if isinstance(result, Tensor) else list(result)
        logits = [moved] * len(parts) if moved is None or isinstance(moved, Tensor) else list(moved)
        ranked = origin.ranked
        if func.__name__ in TAKES and self._indices(args, kwargs):
            ranked = self._ordered(func.__name__, args, kwargs, ranked)
        for part, z in zip(parts, logits, strict=True):
            self.origins[part] = replace(origin, logits=z, ranked=ranked)

    def _note_rows(self, result: Any, given: Any, maker: str) -> None:
        # what torch returns by names, as topk does, is no tree to it
        parts = tuple(result) if isinstance(result, tuple) else result
        made = [
            v
            for v in tree_leaves(parts)
            if isinstance(v, Tensor) and (v.is_floating_point() or maker in RANKS)
        ]
        if not made:
            return
        taken = [
            v
            for v in tree_leaves(given)
            if isinstance(v, Tensor) and v.dim() and type(v) is not nn.Parameter
        ]
        values = [v for v in taken if v.is_floating_point()]
        origins = [self.of(v) for v in values]
        links = [origin.link or origin.made for origin in origins]
        link = links[0] if links and all(links) and maker not in LINEAR else None
        depth = max((origin.depth for origin in origins), default=0) + (maker in LINEAR)
        for tensor in made:
            ranked = maker not in LINEAR | PLACED and any(
                origin.ranked and not _broadcast(v, tensor)
                for v, origin in zip(values, origins, strict=True)
            )
            if maker in RANKS:
                # the order of an order is where each stands
                ordered = any(not v.is_floating_point() and self.of(v).ranked for v in taken)
                ranked = ranked or (
                    not ordered and _of_columns(given[0], given[1], at=2 if maker == "topk" else 1)
                )
            elif maker in TAKES:
                ranked = self._ordered(
                    maker, given[0], given[1], any(origin.ranked for origin in origins)
                )
            if _is_row(tensor) or link or ranked:
                self.origins[tensor] = Origin(depth, maker, made=link, ranked=ranked)

    def _indices(self, args: Any, kwargs: Any) -> list[Tensor]:
        """The whole numbers by which a function takes values."""
        return [
            v
            for v in tree_leaves((args[1:], kwargs))
            if isinstance(v, Tensor)
            and v.dim() > 1
            and not v.is_floating_point()
            and v.dtype != torch.bool
        ]

    def _ordered(self, maker: str, args: Any, kwargs: Any, ranked: bool) -> bool:
        """Whether what is taken by indices is in the order of its values:
        what is ranked is put back by others."""
        by_order = any(self.of(v).ranked for v in self._indices(args, kwargs))
        return by_order and not ranked


def _broadcast(value: Tensor, result: Tensor) -> bool:
    """Whether one of its columns meets many: the largest that is subtracted from all ranks none."""
    return any(
        p == 1 < q for p, q in zip(reversed(value.shape), reversed(result.shape), strict=False)
    )


def _is_row(tensor: Tensor) -> bool:
    return (
        type(tensor) is not nn.Parameter
        and 0 < tensor.dim() <= 4
        and all(n == 1 for n in tensor.shape[2:])
    )


def _over_classes(args: Any, kwargs: Any) -> bool:
    """Whether a function is of another axis than the first, that of the images."""
    given = args[0] if args else kwargs["input"]
    dim = args[1] if len(args) > 1 else kwargs.get("dim")
    return given.dim() > 1 and (dim is None or dim % given.dim() != 0)


def _of_columns(args: Any, kwargs: Any, at: int) -> bool:
    """Whether a function orders the second axis, that of the classes,
    and not the places of a map."""
    given = args[0] if args else kwargs["input"]
    dim = args[at] if len(args) > at else kwargs.get("dim", -1)
    return given.dim() > 1 and dim % given.dim() == 1
