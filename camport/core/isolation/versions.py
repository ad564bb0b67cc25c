"""A model whose weights change while it is explained: what came out is of no one model."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain

from torch import nn
from torch.nn.parameter import is_lazy

from camport.errors import ModelError

CHANGED = (
    "the weights changed while they were read, by an optimiser's step in another thread or by the"
    " method itself: explain a copy of a model that is being trained, copy.deepcopy(model)"
)


@contextmanager
def unchanged(model: nn.Module) -> Iterator[None]:
    """Raises ModelError at the end where a parameter or buffer was written meanwhile.

    Told by PyTorch's version counters, which a write through `.data` leaves as they are.
    """
    before = _versions(model)
    yield
    if _versions(model) != before:
        raise ModelError(CHANGED)


def _versions(model: nn.Module) -> list[int]:
    tensors = chain(model.parameters(), model.buffers())
    return [tensor._version for tensor in tensors if not (is_lazy(tensor) or tensor.is_inference())]
