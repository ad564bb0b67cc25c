"""Which tensors of a model's end are made of which: the logits behind a softmax, the features before a classifier.

No graph of the model is needed, nor a gradient: torch's functions tell what they are given and what they give while a
mode is active, in this thread alone, and while a graph is traced as well.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor
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
    """

    depth: int = 0
    maker: str = ""
    link: Link | None = None
    logits: Tensor | None = None


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
        if link is not None and ("sigmoid" in link or _over_classes(given, args, kwargs)):
            self.origins[result] = Origin(origin.depth if origin else 0, name, link, logits)
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
        made = [v for v in tree_leaves(result) if isinstance(v, Tensor) and _is_row(v)]
        if made:
            origins = [self.of(v) for v in tree_leaves(given) if isinstance(v, Tensor)]
            depth = max((origin.depth for origin in origins), default=0) + (maker in LINEAR)
            for tensor in made:
                self.origins[tensor] = Origin(depth, maker)


def _is_row(tensor: Tensor) -> bool:
    floating = tensor.is_floating_point() and type(tensor) is not torch.nn.Parameter
    return floating and 0 < tensor.dim() <= 4 and all(n == 1 for n in tensor.shape[2:])


def _over_classes(given: Tensor, args: Any, kwargs: Any) -> bool:
    """Whether a softmax is over another axis than the first, that of the images."""
    dim = args[1] if len(args) > 1 else kwargs.get("dim")
    return given.dim() > 1 and (dim is None or dim % given.dim() != 0)
