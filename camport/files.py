"""Files appear whole or not at all: written beside their place under a hidden name,
then moved into it.

A link is written through: what it points to is replaced, and the link stays. Names that begin with
`.camport-` are drafts; one that a killed process left is removed by the next file that is written
in its folder, a day later.
"""

import contextlib
import errno
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import IO

from camport.errors import OutputError

DRAFT = ".camport-"
STALE = 24 * 3600
"""Seconds after which a draft belongs to no process any more."""

# folders of `tempfile.mkdtemp`, and files
_DRAFT = re.compile(re.escape(DRAFT) + r"([a-z0-9_]{8}|.+\.tmp)")
_NO_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS)


def place_of(path: str | os.PathLike[str]) -> Path:
    """Where a file lands that is written to `path`: what a link points to,
    whether or not it exists."""
    return Path(os.path.realpath(path)) if os.path.islink(path) else Path(path)


def check_folder(folder: Path) -> None:
    """OutputError where files cannot be written into a folder that is there or is made,
    but not its parents."""
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file; name a folder")
    if not folder.resolve().parent.is_dir():
        raise OutputError(f"the directory {folder.resolve().parent} does not exist; make it first")


def check_writable(path: str | os.PathLike[str], suffixes: Collection[str] | None = None) -> Path:
    """Says before any work is done whether a file can be written there.

    Args:
        path: where a file shall be written.
        suffixes: the kinds of file that will do, with the dot; None for all.

    Returns:
        The path, as a Path.

    Raises:
        OutputError: unknown suffix, a missing or unwritable directory, or something else than a
            file in its place.
    """
    file = Path(path)
    try:
        os.stat(file)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        pass  # told below
    except (OSError, ValueError) as error:  # a name that is too long, a zero byte, a loop of links
        reason = error.strerror if isinstance(error, OSError) else error
        raise OutputError(f"{file} cannot be written: {reason}") from None
    if file.is_dir():
        raise OutputError(f"{file} is a directory; name a file in it")
    if suffixes is not None and file.suffix.lower() not in suffixes:
        ending = f"ends in {file.suffix!r}" if file.suffix else "has no suffix"
        raise OutputError(f"{file} {ending}; what can be written is {', '.join(suffixes)}")
    place = place_of(file)
    parent = place.parent
    if not parent.is_dir():
        what = (
            "is a file, not a directory"
            if parent.exists()
            else "does not exist; make the directory first"
        )
        raise OutputError(f"{file} cannot be written: {parent} {what}")
    if place.exists() and not place.is_file():
        raise OutputError(f"{file} is no regular file and would be replaced; name another one")
    for needed in (parent, *([place] if place.exists() else [])):
        if not os.access(needed, os.W_OK):
            raise OutputError(f"{file} cannot be written: no permission to write {needed}")
    return file


def check_apart(
    outputs: Iterable[str | os.PathLike[str]], inputs: Iterable[str | os.PathLike[str]]
) -> None:
    """Refuses to write what is read, also where links or second names lead to the same file.

    Raises:
        OutputError: naming the file.
    """
    read = list(inputs)
    for output in outputs:
        for given in read:
            with contextlib.suppress(OSError, ValueError):  # one of them does not exist
                if os.path.samefile(output, given):
                    same = "" if os.fspath(output) == os.fspath(given) else f", which is {given},"
                    raise OutputError(
                        f"{os.fspath(output)}{same} is read and would be replaced; write to another"
                        " file"
                    )


def write_atomic(path: str | os.PathLike[str], write: Callable[[IO[bytes]], None]) -> Path:
    """Writes a file by way of a hidden one in the same directory, which is gone whatever happens.

    Args:
        path: the file; links are written through, an existing file keeps its permissions.
        write: gets the open file.

    Returns:
        The path, as a Path.

    Raises:
        OutputError: the operating system refused.
    """
    file = Path(path)
    place = place_of(file)
    sweep(place.parent)
    hidden = place.with_name(f"{DRAFT}{secrets.token_hex(6)}.tmp")
    try:
        try:
            with hidden.open("xb") as stream:
                write(stream)
                stream.flush()
                os.fsync(stream.fileno())
            if place.exists():
                hidden.chmod(place.stat().st_mode & 0o777)
            os.replace(hidden, place)
            sync(place.parent)
        except OSError as error:
            raise OutputError(f"{file} cannot be written: {error.strerror or error}") from None
    finally:
        with contextlib.suppress(OSError):
            hidden.unlink()
    return file


def write_text(path: str | os.PathLike[str], text: str) -> Path:
    """Writes a UTF-8 text, see `write_atomic`."""

    def write(stream: IO[bytes]) -> None:
        stream.write(text.encode("utf-8"))

    return write_atomic(path, write)


def sync(place: Path) -> None:
    """Waits until a file's bytes, or a folder's names, are on the disk: fsync(2).

    Without it a power cut soon after a rename may leave an empty file under the new name.
    """
    folder = place.is_dir()
    if folder and os.name == "nt":  # folders cannot be opened there
        return
    descriptor = os.open(place, os.O_RDONLY if folder else os.O_RDWR)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if not folder or error.errno not in _NO_SYNC:  # not every file system syncs folders
            raise
    finally:
        os.close(descriptor)


def sweep(folder: Path) -> None:
    """Removes the drafts in `folder` that killed processes left,
    those in which nothing changed for a day."""
    limit = time.time() - STALE
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in [entry for entry in entries if _DRAFT.fullmatch(entry.name)]:
            with contextlib.suppress(OSError):
                if not entry.is_dir(follow_symlinks=False):
                    if entry.stat(follow_symlinks=False).st_mtime < limit:
                        os.unlink(entry.path)
                elif (
                    max(
                        at.lstat().st_mtime
                        for at in (Path(entry.path), *Path(entry.path).iterdir())
                    )
                    < limit
                ):
                    shutil.rmtree(entry.path, ignore_errors=True)
