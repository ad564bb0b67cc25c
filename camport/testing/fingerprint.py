"""What must be the same before and after an explanation: the model, the images, and the process.

Python's own random state is left out: runtime type checkers draw from it.
"""

import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import _get_current_function_mode_stack

Fingerprint = dict[str, Any]

_HOOKS = [
    key for key in nn.Module().__dict__ if "hooks" in key and not key.endswith("_with_kwargs")
]


def _numpy_state() -> tuple[bytes, int]:
    state: Any = np.random.get_state()  # noqa: NPY002 - the global generator is what is watched
    return state[1].tobytes(), state[2]


_GLOBALS: dict[str, Callable[[], Any]] = {
    "PyTorch's random state": torch.get_rng_state,
    "NumPy's random state": _numpy_state,
    "whether gradients are recorded": torch.is_grad_enabled,
    "the default dtype": torch.get_default_dtype,
    "the number of threads": torch.get_num_threads,
    "whether algorithms are deterministic": torch.are_deterministic_algorithms_enabled,
    "the modes that intercept functions": lambda: len(_get_current_function_mode_stack()),
    "the process's warning filters": lambda: list(warnings.filters),
    "what shows warnings": lambda: warnings.showwarning,
    "the level of logging": lambda: (logging.root.level, logging.root.manager.disable),
    "the environment": lambda: dict(os.environ),
    "sys.path": lambda: list(sys.path),
    "the working directory": os.getcwd,
}


@contextmanager
def no_filters() -> Iterator[None]:
    """While open the process has one warning filter, of the kit:
    one that a plugin sets anew in each run shows too."""
    with warnings.catch_warnings():
        warnings.resetwarnings()
        # no plugin's is equal, which would hide it
        warnings.filterwarnings("ignore", message="(any)?")
        yield


def fingerprint(model: nn.Module, **tensors: Tensor) -> Fingerprint:
    """By what is told to a person: modes, hooks, attributes,
    every tensor with its version and gradient, globals."""
    found: Fingerprint = {name: read() for name, read in _GLOBALS.items()}
    for name, module in model.named_modules():
        who = name or "the model"
        found[f"the mode of {who}"] = module.training
        found[f"the hooks of {who}"] = [list(module.__dict__.get(key) or ()) for key in _HOOKS]
        found[f"the attributes of {who}"] = sorted(module.__dict__)
        found[f"the class of {who}"] = type(module)
    named: list[tuple[str, Tensor]] = [
        *model.named_parameters(),
        *model.named_buffers(),
        *tensors.items(),
    ]
    for name, tensor in named:
        found[f"{name}.requires_grad"] = tensor.requires_grad
        found[f"{name}.grad"] = None if tensor.grad is None else tensor.grad.clone()
        found[f"the values of {name}"] = tensor.detach().clone()
        found[f"the version of {name} (it was written to in place)"] = tensor._version
        found[f"the identity of {name}"] = id(tensor)
    return found


def changes(before: Fingerprint, after: Fingerprint) -> Iterator[str]:
    """What differs, in words."""
    for what in before.keys() | after.keys():
        if what not in before or what not in after or not _same(before[what], after[what]):
            yield what


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a.shape == b.shape and torch.equal(a, b)
    return type(a) is type(b) and bool(a == b)
