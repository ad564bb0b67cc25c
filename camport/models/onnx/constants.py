"""The tensors of a file: equal ones held once,
and what follows from constants alone computed once."""

import hashlib
from typing import Any

import torch
from torch import Tensor, nn

from camport.errors import ModelError
from camport.models.onnx.small import Small

LARGEST = 2**26
"""Elements of a constant that is computed at import;
more is no network but an attack or a mistake."""


class Constants:
    """Constants by name. Floating-point initialisers are parameters, the rest buffers."""

    def __init__(self, initialisers: dict[str, Tensor]) -> None:
        self.tensors: dict[str, Tensor] = {}
        first = _first_of_equal(initialisers)
        for name, tensor in initialisers.items():
            if first[name] == name:
                trained = tensor.is_floating_point() and tensor.numel() > 1
                self.tensors[name] = nn.Parameter(tensor) if trained else tensor
        for name in initialisers:
            self.tensors[name] = self.tensors[first[name]]

    def __contains__(self, name: str) -> bool:
        return name in self.tensors

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[name]

    def put(self, name: str, value: Any) -> None:
        """Adds what was computed of constants."""
        tensor = value.tensor() if isinstance(value, Small) else value
        self.tensors[name] = tensor if isinstance(tensor, nn.Parameter) else tensor.detach()


def folded(function: Any, arguments: list[Any], options: dict[str, Any], label: str) -> Any:
    """`function` of constants; computed only if a run without memory says that the result is small
    enough.

    Raises:
        ModelError: the node fails, or its result is too large.
    """
    try:
        with torch.no_grad():
            try:
                with torch.device("meta"):
                    shadow = function(*(_meta(a) for a in arguments), **options)
            except (NotImplementedError, RuntimeError, TypeError):
                # an operator that needs values, or one that fails below with a better message
                shadow = None
            for part in shadow if isinstance(shadow, tuple) else (shadow,):
                if isinstance(part, Tensor) and part.numel() > LARGEST:
                    raise ModelError(
                        f"{label} makes a constant of {tuple(part.shape)}: too large to be meant"
                    )
            return function(*arguments, **options)
    except ModelError:
        raise
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        line = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise ModelError(f"{label} cannot be computed: {line}") from error


def _meta(value: Any) -> Any:
    return value.detach().to("meta") if isinstance(value, Tensor) else value


def _first_of_equal(tensors: dict[str, Tensor]) -> dict[str, str]:
    """For each name the first name under which the same numbers are stored."""
    alike: dict[tuple[Any, ...], list[str]] = {}
    for name, tensor in tensors.items():
        alike.setdefault((tensor.dtype, tuple(tensor.shape)), []).append(name)
    first: dict[str, str] = {}
    for names in alike.values():
        seen: dict[bytes, str] = {}
        for name in names:
            key = b"" if len(names) == 1 else _digest(tensors[name])
            first[name] = seen.setdefault(key, name)
    return first


def _digest(tensor: Tensor) -> bytes:
    flat = tensor.contiguous().reshape(-1)
    raw = flat.view(torch.uint8) if flat.numel() else flat
    return hashlib.blake2b(raw.numpy().data, digest_size=16).digest()
