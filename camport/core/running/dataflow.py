"""Of what each tensor of a forward pass is made: the dataflow graph of modules and functions alike.

Modules alone do not tell: a level of a pyramid may be scaled, pooled or turned by a function
between two of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

from camport.core.maps.movers import PRODUCTS

_PREFIX, _SUFFIX = ("new_", "zeros", "ones", "full", "empty", "rand"), ("_like",)
"""Functions that take a tensor for its shape and type alone."""
_FIRST_ONLY = ("view_as", "expand_as", "reshape_as", "type_as", "to")
"""Functions whose further tensors tell a shape or a type alone."""


@dataclass
class Value:
    """One tensor of a forward pass.

    Attributes:
        shape: its sizes.
        op: name of the function or kind of the module that made it; empty for what was there
            before.
        sources: numbers of the tensors that it is made of.
        weights: it is a softmax of what each token of a row has to do with each.
    """

    shape: tuple[Any, ...]
    op: str = ""
    sources: list[int] = field(default_factory=list)
    weights: bool = False


class Dataflow(TorchFunctionMode):
    """While active, numbers the tensors that functions take and give, and keeps none of them alive.

    Attributes:
        values: by number, in the order in which they were met. A tensor that is written into stays
            one value.
        image: number of the images; None until they are given.
        outputs: numbers of the tensors that the model said.
        attentions: how many self-attentions have been computed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.values: list[Value] = []
        self.image: int | None = None
        self.outputs: tuple[int, ...] = ()
        self.attentions = 0
        self._numbers = WeakTensorKeyDictionary()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Runs the function and notes what its results are made of."""
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        if name == "__setitem__":
            self.note(name, tree_leaves(args), [args[0]])
        elif name != "__get__" or isinstance(result, Tensor):
            self.note(name, tree_leaves((args, kwargs)), tree_leaves(result))
        return result

    def number(self, tensor: Tensor) -> int:
        """The tensor's number, a new one where it has not been met."""
        found = self._numbers.get(tensor)
        if found is None:
            found = self._numbers[tensor] = len(self.values)
            self.values.append(Value(tuple(tensor.shape)))
        return int(found)

    def unmoved(self, number: int, moves: Collection[str]) -> int:
        """The tensor of which one is another layout or a part, by functions called `moves`."""
        while self.values[number].op in moves and self.values[number].sources:
            number = self.values[number].sources[0]
        return number

    def behind(self, number: int) -> set[int]:
        """Numbers of all that a tensor is made of."""
        found: set[int] = set()
        left = list(self.values[number].sources)
        while left:
            source = left.pop()
            if source not in found:
                found.add(source)
                left += self.values[source].sources
        return found

    def note(self, op: str, taken: Iterable[Any], made: Iterable[Any]) -> None:
        """`made` are made of `taken`, where each of them may be no tensor."""
        results = [v for v in made if isinstance(v, Tensor)]
        if not results:
            return
        sources = [self.number(v) for v in taken if isinstance(v, Tensor)]
        if op.startswith(_PREFIX) or op.endswith(_SUFFIX):
            sources = []
        elif op in _FIRST_ONLY:
            sources = sources[:1]
        given = [self.values[n] for n in sources]
        self.attentions += op in PRODUCTS and any(value.weights for value in given)
        if op == "scaled_dot_product_attention":
            self.attentions += _square((given[0].shape[-2], given[1].shape[-2]))
        for result in results:
            number = self.number(result)
            value = self.values[number]
            # behind a dropout
            alike = any(source.weights and source.shape == value.shape for source in given)
            value.weights = _square(value.shape) and (op == "softmax" or alike)
            value.op = value.op or op or "function"
            value.sources += [
                n for n in dict.fromkeys(sources) if n != number and n not in value.sources
            ]

    def note_module(self, kind: str, taken: Iterable[Any], made: Iterable[Any]) -> None:
        """The same of a module, for what no function is known to have made: compiled code,
        another engine's."""
        unknown = [v for v in made if isinstance(v, Tensor) and not self.values[self.number(v)].op]
        given = {id(v) for v in taken if isinstance(v, Tensor)}
        self.note(kind, taken, [v for v in unknown if id(v) not in given])

    def said(self, outputs: Any) -> None:
        """Notes the model's outputs."""
        self.outputs = tuple(self.number(v) for v in tree_leaves(outputs) if isinstance(v, Tensor))


def _square(shape: tuple[Any, ...]) -> bool:
    return len(shape) > 1 and shape[-1] == shape[-2] and shape[-1] != 1
