"""Which files are opened at all: regular ones of a bounded size.

A pipe is never read to its end, `/dev/zero` has none, and a file of gigabytes is no list of names.
"""

import errno
import os
import stat
from pathlib import Path

from camport.errors import CamportError, InputError, guarded

TEXT_LIMIT = 4 * 2**20
"""Bytes of a text of names: a million of them."""


def check_regular(
    path: str | os.PathLike[str],
    what: str = "",
    kind: type[CamportError] = InputError,
    *,
    limit: int | None = None,
) -> Path:
    """The path of a regular file, links followed.

    Args:
        path: of the file.
        what: before its name in messages, e.g. "labels ".
        kind: the error raised.
        limit: the most bytes it may have.

    Raises:
        CamportError: of `kind`; there is nothing, a directory, a pipe, socket or device, or a
            larger file.
    """
    file = Path(path)
    try:
        found = os.stat(file)  # Path.exists raises for a name that is too long
    except (OSError, ValueError) as error:
        gone = getattr(error, "errno", None) in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)
        why = (
            "does not exist"
            if gone
            else f"cannot be read: {getattr(error, 'strerror', None) or error}"
        )
        raise kind(f"{what}{file} {why}") from None
    if stat.S_ISDIR(found.st_mode):
        raise kind(f"{what}{file} is a directory; name a file in it")
    if not stat.S_ISREG(found.st_mode):
        raise kind(f"{what}{file} is a pipe, a socket or a device; save it as a file first")
    if limit is not None and found.st_size > limit:
        raise kind(f"{what}{file} has {found.st_size} bytes; at most {limit} are read")
    return file


def read_text(
    path: str | os.PathLike[str],
    what: str,
    kind: type[CamportError] = InputError,
    *,
    limit: int = TEXT_LIMIT,
) -> str:
    """The text of a UTF-8 file.

    Raises:
        CamportError: of `kind`; as `check_regular`, or no text.
    """
    file = check_regular(path, f"{what} ", kind, limit=limit)
    with (
        guarded(f"{what} {file} cannot be read", kind, remedy="save it as UTF-8 text"),
        file.open("rb") as stream,
    ):
        return stream.read(limit).decode("utf-8")
