"""Where a file goes: written aside and moved into place when it is whole and proven,
or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from camport.errors import OutputError
from camport.files import DRAFT, check_writable, place_of, sweep, sync


def data_file(path: Path) -> Path:
    """Beside an ONNX file at `path`: its weights, where they are too large for the file itself."""
    return path.with_name(path.name + ".data")


def report_file(path: Path) -> Path:
    """Beside a file at `path`: the report of its export, where one is wanted."""
    return path.with_name(path.name + ".report.json")


def parts(path: Path) -> list[Path]:
    """The files that make up the export at `path`, without its report:
    `path` itself is the last."""
    return [file for file in (data_file(path), path) if file.exists()]


def checked_target(path: str | os.PathLike[str]) -> Path:
    """`path`, after making sure that a file can be written there."""
    return check_writable(path)


@contextmanager
def placed(path: Path) -> Iterator[Path]:
    """A draft's path, in a folder of its own; what is there at the end moves to `path`, with its
    external data and its report, and nothing does if the body or the move fails. An older file's
    external data goes with that file.

    Where `path` is a link, the file that it points to is replaced, and what belongs to it lies
    beside that one.
    """
    target = place_of(path)
    sweep(target.parent)
    try:
        folder = Path(tempfile.mkdtemp(prefix=DRAFT, dir=target.parent))
    except OSError as error:
        raise OutputError(f"cannot write in {target.parent}: {error.strerror}") from error
    whole = True
    try:
        draft = folder / target.name
        yield draft
        _move(draft, target)
    except _UnrestoredError as error:
        whole = False
        raise OutputError(
            f"{path} cannot be written: {error}; what it replaced is in {folder / 'kept'}"
        ) from error
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        if whole:
            shutil.rmtree(folder, ignore_errors=True)


class _UnrestoredError(OSError):
    """A move failed, and so did its undoing."""


def _move(draft: Path, target: Path) -> None:
    """All parts or none: what is replaced is kept until the last one, the file itself,
    is in place."""
    names = [file.name for file in (data_file(draft), report_file(draft), draft) if file.exists()]
    old_data = data_file(target)
    stale = (
        [old_data.name]
        if old_data.name not in names and old_data.exists() and refers(target, old_data)
        else []
    )
    kept = draft.parent / "kept"
    kept.mkdir()
    for name in names:
        sync(draft.parent / name)
    begun: list[str] = []
    try:
        for name in [*names, *stale]:
            begun.append(name)
            if (target.parent / name).exists():
                _keep(target.parent / name, kept / name, copy=name in names)
            if name in names:
                os.replace(draft.parent / name, target.parent / name)
        sync(target.parent)
    except OSError as error:
        try:
            for name in begun:
                if (kept / name).exists():
                    os.replace(kept / name, target.parent / name)
                elif name in names and not (draft.parent / name).exists():
                    (target.parent / name).unlink(missing_ok=True)
        except OSError as again:
            raise _UnrestoredError(
                f"{error.strerror or error}, then {again.strerror or again}"
            ) from error
        raise


def _keep(old: Path, kept: Path, copy: bool) -> None:
    """Puts `old` aside, by a second name where it stays until it is replaced:
    there is no moment without a file."""
    if copy:
        try:
            os.link(old, kept)
        except OSError:  # not every file system has second names
            part = kept.with_name(kept.name + ".part")
            shutil.copy2(old, part)
            os.replace(part, kept)
    else:
        os.replace(old, kept)


def refers(path: Path, data: Path) -> bool:
    """Whether `path` is an ONNX file whose weights are in `data`."""
    import onnx
    from onnx.external_data_helper import ExternalDataInfo, uses_external_data

    try:
        model: Any = onnx.load(str(path), load_external_data=False)
    except Exception:  # no ONNX file: protobuf's errors share no base with the others
        return False
    return any(
        uses_external_data(tensor) and ExternalDataInfo(tensor).location == data.name
        for tensor in model.graph.initializer
    )
