"""Which tensors of a model's end are made of which: the logits behind a softmax, the features before a classifier.

No graph of the model is needed, nor a gradient: torch's functions tell what they are given and what they give while a
mode is active, in this thread alone, and while a graph is traced as well.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

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
    "flatten", "unflatten", "squeeze", "unsqueeze", "reshape", "reshape_as", "view", "view_as", "contiguous", "clone",
    "detach", "alias", "to", "type", "type_as", "float", "double", "half", "bfloat16", "cpu", "cuda", "permute",
    "transpose", "swapaxes", "movedim", "moveaxis", "expand", "expand_as", "__getitem__", "narrow", "select",
    "index_select", "unbind", "split", "chunk", "tensor_split", "dropout", "dropout1d", "dropout2d", "requires_grad_",
])
RANKS = frozenset(["topk", "sort", "msort"])
PLACED = frozenset(["gather", "scatter", "scatter_", "take_along_dim", "index_put", "index_put_"])
CLAMPS = frozenset(["clamp", "clip", "clamp_min", "clamp_max", "nan_to_num"])
LINEAR = frozenset(["linear", "addmm", "mm", "matmul", "__matmul__", "bilinear", "conv1d", "conv2d", "cdist"])
# fmt: on


@dataclass(frozen=True)
class Origin:
    """Where a tensor comes from.

    Attributes:
        depth: how many linear layers it has behind it, as far as rows of numbers were seen.
        maker: the name of torch's function that made it; empty where none was seen.
        link: what it is of `logits`; None where it is no function of logits.
        logits: in its own layout.
        made: of what it is a function that none of `LINKS` and `OVER` is, of that alone: an average of probabilities,
            percent, the product of several.
        ranked: its columns are in the order of their values.
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
            depth, ranked = (origin.depth, origin.ranked) if origin else (0, False)
            self.origins[result] = Origin(depth, name, link, logits, ranked=ranked)
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
        for part, z in zip(parts, logits, strict=True):
            self.origins[part] = replace(origin, logits=z)

    def _note_rows(self, result: Any, given: Any, maker: str) -> None:
        # what torch returns by names, as topk does, is no tree to it
        parts = tuple(result) if isinstance(result, tuple) else result
        made = [v for v in tree_leaves(parts) if isinstance(v, Tensor) and v.is_floating_point()]
        if not made:
            return
        taken = [v for v in tree_leaves(given) if isinstance(v, Tensor) and v.dim() and type(v) is not nn.Parameter]
        origins = [self.of(v) for v in taken]
        links = [origin.link or origin.made for origin in origins]
        link = links[0] if links and all(links) and maker not in LINEAR else None
        ranked = any(origin.ranked for origin in origins) and maker not in LINEAR | PLACED
        ranked = ranked or (maker in RANKS and _over_classes(given[0], given[1], at=2 if maker == "topk" else 1))
        depth = max((origin.depth for origin in origins), default=0) + (maker in LINEAR)
        for tensor in made:
            if _is_row(tensor) or link:
                self.origins[tensor] = Origin(depth, maker, made=link, ranked=ranked)


def _is_row(tensor: Tensor) -> bool:
    return type(tensor) is not nn.Parameter and 0 < tensor.dim() <= 4 and all(n == 1 for n in tensor.shape[2:])


def _over_classes(args: Any, kwargs: Any, at: int = 1) -> bool:
    """Whether a function is of another axis than the first, that of the images."""
    given = args[0] if args else kwargs["input"]
    dim = args[at] if len(args) > at else kwargs.get("dim")
    return given.dim() > 1 and (dim is None or dim % given.dim() != 0)
