"""Makes the engine's session of a file, quietly,
with one clear error for each way that can fail."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from camport.errors import InputError, MissingDependencyError, ModelError
from camport.runtime.providers import CPU, Provider, choose, name_of, preload, report
from camport.runtime.regular_file import check_regular

_FATAL, _WARNING = 4, 2


def import_engine() -> Any:
    """The module onnxruntime.

    Raises:
        MissingDependencyError: it is not installed or cannot be loaded.
    """
    try:
        import onnxruntime
    except ImportError as error:
        found = not isinstance(error, ModuleNotFoundError)
        reason = f" (it is there but does not load: {error})" if found else ""
        raise MissingDependencyError(
            f'running a graph needs onnxruntime{reason}: pip install "camport[cpu]", or'
            ' "camport[gpu]"'
        ) from None
    return onnxruntime


def open_session(
    path: str | os.PathLike[str],
    providers: Sequence[Provider] | None = None,
    threads: int | None = None,
) -> Any:
    """An onnxruntime InferenceSession that prints nothing.

    Args:
        path: the .onnx file.
        providers: as `camport.runtime.load`.
        threads: threads within one operator; None leaves the choice to the engine.

    Raises:
        ModelError: the file is missing, a directory, empty, corrupt, truncated, or not one the
            engine can run.
        MissingDependencyError, UnknownNameError, InputError: see
        `camport.runtime.providers.choose`.
    """
    file = _existing(Path(path))
    if threads is not None and (isinstance(threads, bool) or threads < 1):
        raise InputError(
            f"threads is {threads}; give at least 1, or None for the engine's own choice"
        )
    engine = import_engine()
    wanted = choose(engine, providers)
    options = engine.SessionOptions()
    options.log_severity_level = _FATAL  # whatever goes wrong is raised as well
    if threads is not None:
        options.intra_op_num_threads = threads
    accelerated = any(name_of(provider) != CPU for provider in wanted)
    if accelerated:
        preload(engine)
        # a provider that fails to load logs where no session option reaches
        engine.set_default_logger_severity(_FATAL)
    try:
        session, refusals = _create(engine, file, options, wanted)
    finally:
        if accelerated:
            engine.set_default_logger_severity(_WARNING)
    asked, working = [name_of(provider) for provider in wanted], list(session.get_providers())
    lost = [name for name in asked if name not in working]
    if lost:
        why = refusals[0] if refusals else "its libraries (CUDA, cuDNN, ...) did not load"
        report(lost, [name for name in working if name in asked], why)
    return session


def _create(
    engine: Any, file: Path, options: Any, wanted: Sequence[Provider]
) -> tuple[Any, list[str]]:
    """The session, and what the providers said that refused it:
    the first is left out until one accepts."""
    refusals: list[str] = []
    for first in range(len(wanted)):
        try:
            # enable_fallback=0: the engine's own retry prints a banner to stdout
            return (
                engine.InferenceSession(
                    str(file), options, providers=list(wanted[first:]), enable_fallback=0
                ),
                refusals,
            )
        except Exception as error:
            refusals.append(short(error))
            reason = _reason(file, error)
    raise ModelError(f"{file} cannot be loaded: {reason}")


def short(error: Exception) -> str:
    """The engine's message as one line, without its code prefix and source positions."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", lines[0])
    text = re.sub(r"\S+\.(?:cc|h):\d+ [^()]*\([^()]*\) (?:const )?", "", text)
    text = text.rstrip(". ")
    return text if len(text) <= 300 else text[:297] + "..."


def _existing(file: Path) -> Path:
    if os.path.isdir(file):
        raise ModelError(f"{file} is a directory; name the .onnx file in it")
    if not os.path.exists(file):  # Path.exists raises for a name that is too long
        near = (
            sorted(p.name for p in file.parent.glob("*.onnx"))[:5] if file.parent.is_dir() else []
        )
        hint = f"; in that folder there is {', '.join(near)}" if near else ""
        raise ModelError(f"{file} does not exist{hint}")
    if check_regular(file, kind=ModelError).stat().st_size == 0:
        raise ModelError(f"{file} is empty; export it again")
    return file


def _reason(file: Path, error: Exception) -> str:
    """What is wrong with a file the engine refused, told from its first bytes where they tell."""
    try:
        with file.open("rb") as stream:
            head = stream.read(64)
    except OSError as unreadable:
        return str(unreadable.strerror)
    if head.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer, not the file itself; run git lfs pull"
    if head.lstrip()[:1] == b"<":
        return "it is a web page, not a graph; the download went wrong"
    if head.startswith(b"PK"):
        return (
            "it is a zip archive, such as .pt and .pt2 files are; export to .onnx for this runtime"
        )
    weights = file.with_name(file.name + ".data")
    if "escape" in str(error).lower():
        return (
            "it names weights outside of its own folder, which are never read; keep them beside it"
        )
    if "external" in str(error).lower() or weights.name in str(error):
        lost = "is not beside it" if not weights.exists() else "is not the one that belongs to it"
        return f"its weights, {weights.name}, {lost}; copy or export both files together"
    if type(error).__name__ == "InvalidProtobuf" or "No graph was found" in str(error):
        return "it is corrupt, truncated or not ONNX; export or copy it again"
    return short(error)
