"""Which execution providers to ask the engine for, and what to say of those that do not work."""

import contextlib
import io
import sys
import warnings
from collections.abc import Sequence
from typing import Any

from camport.errors import (
    InputError,
    MissingDependencyError,
    ModelError,
    ProviderWarning,
    UnknownNameError,
)
from camport.runtime.cuda import cuda_fault

Provider = str | tuple[str, dict[str, Any]]

CPU = "CPUExecutionProvider"
NEEDS_CUDA = (
    "CUDAExecutionProvider",
    "TensorrtExecutionProvider",
    "NvTensorRTRTXExecutionProvider",
)
AUTOMATIC = ("CUDAExecutionProvider", "ROCMExecutionProvider", "DmlExecutionProvider")
"""What is tried unasked. The others compile for minutes (TensorRT), compute in half precision
(CoreML) or elsewhere (Azure), and must be named."""

_said: set[str] = set()


def choose(engine: Any, providers: Sequence[Provider] | None) -> list[Provider]:
    """The providers to make a session with, the CPU last where it may be used.

    With None, the accelerators in AUTOMATIC that this build offers, then the CPU; one that needs
    CUDA is left out, with a ProviderWarning once a process, where there is no usable device.

    With a list, exactly that list, as names ("CUDAExecutionProvider", or "cuda") or (name,
    options). Naming the CPU in it means that going on without the others is fine.

    Raises:
        UnknownNameError: a name no build of onnxruntime has.
        MissingDependencyError: a provider that the installed build does not have.
        InputError: an empty list.
        ModelError: all that was named needs CUDA and there is no usable device.
    """
    offered = list(engine.get_available_providers())
    if providers is None:
        wanted: list[Provider] = [*(name for name in AUTOMATIC if name in offered), CPU]
    elif isinstance(providers, str):
        raise InputError(f"providers is {providers!r}; give a list, providers=[{providers!r}]")
    elif not providers:
        raise InputError("providers is empty; leave it None for the best there is, or name one")
    else:
        known = engine.get_all_providers() if hasattr(engine, "get_all_providers") else offered
        wanted = [_known(provider, offered, known) for provider in providers]
    if not any(name_of(provider) in NEEDS_CUDA for provider in wanted):
        return wanted
    fault = cuda_fault()
    if fault is None:
        return wanted
    usable = [provider for provider in wanted if name_of(provider) not in NEEDS_CUDA]
    lost = [name_of(provider) for provider in wanted if name_of(provider) in NEEDS_CUDA]
    report(lost, [name_of(provider) for provider in usable], fault)
    return usable


def name_of(provider: Provider) -> str:
    """The name of a provider given with or without options."""
    return provider if isinstance(provider, str) else provider[0]


def report(lost: Sequence[str], working: Sequence[str], why: str) -> None:
    """Says that providers did not load: an error where nothing that was asked for works,
    else a warning.

    A script that names CUDA alone and silently runs twenty times slower is worse off than one that
    stops.

    Raises:
        ModelError: `working` is empty.
    """
    names = " and ".join(lost)
    if not working:
        raise ModelError(
            f'{names} cannot be used: {why}; add "{CPU}" to providers to go on without it'
        )
    message = (
        f"{names} cannot be used: {why}; going on with {working[0]} "
        f'(providers=["{CPU}"] or pip install "camport[cpu]" avoids this)'
    )
    if message not in _said:
        _said.add(message)
        warnings.warn(message, ProviderWarning, stacklevel=_outside())


def preload(engine: Any) -> None:
    """Lets the engine find the CUDA libraries that pip installed; what it misses it prints,
    unasked."""
    if hasattr(engine, "preload_dlls"):
        with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(Exception):
            engine.preload_dlls()


def _known(provider: Provider, offered: Sequence[str], known: Sequence[str]) -> Provider:
    """`provider` with its full name, after checks that it exists and is installed."""
    asked = name_of(provider)
    full = {name.lower(): name for name in known}
    full |= {name.removesuffix("ExecutionProvider").lower(): name for name in known}
    name = full.get(asked.lower())
    if name is None:
        raise UnknownNameError("provider", asked, known)
    if name not in offered:
        remedy = "install a build with it"
        if name in NEEDS_CUDA:
            remedy = 'pip install "camport[gpu]" in place of onnxruntime'
        raise MissingDependencyError(
            f"{name} is not in the installed onnxruntime, which has {', '.join(offered)}: {remedy}"
        )
    return name if isinstance(provider, str) else (name, provider[1])


def _outside() -> int:
    """The stack level of the first caller outside this room:
    the warning points at the user's line."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back and frame.f_globals.get("__name__", "").startswith("camport.runtime"):
        frame, level = frame.f_back, level + 1
    return level
