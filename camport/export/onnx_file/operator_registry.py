"""The registry of ONNX forms that torch.onnx builds anew in every export, kept instead."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from functools import lru_cache
from threading import Lock
from typing import Any

from camport.export.private_torch import onnx_registry, operator_libraries
from camport.export.quiet import quiet

_REGISTRY = onnx_registry()
_BUILD = _REGISTRY.from_torchlib
_LOCK = Lock()
_KEPT = 8
"""Registries kept: one for each opset, and for each set of operator libraries loaded."""


def operator_registry(opset: int) -> Any:
    """What torch.onnx translates at that version of the standard operators: read only.

    A library of operators that is loaded later (torchvision's) brings forms of its own: the
    registry is built anew.
    """
    # by namespace: torch itself defines further prims while it captures
    return _built(opset, operator_libraries())


@contextmanager
def kept_registry() -> Iterator[None]:
    """While open, torch.onnx takes a copy of the kept registry;
    building one costs as much as a small export."""

    def copied(opset_version: int) -> Any:
        registry = copy(operator_registry(opset_version))
        # translations of one export are put in front of these lists
        registry.functions = {
            operator: list(forms) for operator, forms in registry.functions.items()
        }
        return registry

    with _LOCK:
        found = vars(_REGISTRY)["from_torchlib"]
        _REGISTRY.from_torchlib = staticmethod(copied)
        try:
            yield
        finally:
            _REGISTRY.from_torchlib = found


@lru_cache(maxsize=_KEPT)
def _built(opset: int, libraries: frozenset[str]) -> Any:
    """One registry; `libraries` are the namespaces of all operators loaded,
    and only tell one state from another."""
    with quiet():
        return _BUILD(opset_version=opset)
