"""What the command line prints: the one place where text reaches a terminal.

Names, labels and errors come out of files that others made. Control characters in them could move
the cursor, set the title or hide text, so they are printed escaped.
"""

import json
import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast
from unicodedata import category

from camport.errors import OutputError

CONTROLS = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Categories of Unicode that are no signs: controls, directions, lone surrogates,
separators of lines."""

JOINERS = "\u200c\u200d"
"""Formatting characters that written words and emoji need."""


def printable(text: object) -> str:
    """`text` on one line, each control character as its escape: "\\x1b[2J".

    The bytes of a file name that are no UTF-8, which Python keeps as surrogates, are shown as
    bytes.
    """
    return "".join(map(_shown, str(text)))


def say(*lines: object, err: bool = False) -> None:
    """Prints lines, each of them `printable`.

    Raises:
        OutputError: standard output cannot be written: a full disk, say.
        BrokenPipeError: who reads it has gone.
    """
    for line in lines:
        print(printable(line), file=sys.stderr if err else sys.stdout, flush=True)


def tell(image: object, text: str, output: object, **facts: Any) -> None:
    """Says what was explained of an image: a line of text, or with --json a line of JSON."""
    if not say_result({"image": str(image), **facts, "output": str(output)}):
        say(f"{image}: {text}")


def say_result(value: Any) -> bool:
    """With --json prints a line of it; whether it did."""
    if not (isinstance(sys.stdout, Output) and sys.stdout.json):
        return False
    hushed, sys.stdout.hushed = sys.stdout.hushed, False
    try:
        say_json(value)
    finally:
        sys.stdout.hushed = hushed
    return True


def say_json(value: Any) -> None:
    """Prints one line of JSON; what has no end is null, which JSON has instead of infinity."""
    say(json.dumps(_finite(value), default=str, allow_nan=False))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


class Output:
    """A standard stream as the command line writes to it, its own text, rich's and typer's alike.

    Signs that the encoding lacks are escaped. A failed write is an OutputError; what is left of the
    text is let go then, since the interpreter would try to write it once more when it ends.

    Args:
        stream: the stream; None, as Python starts with a closed descriptor, takes everything.
        silent: failures are not raised: nowhere is left to say them.
    """

    def __init__(self, stream: TextIO | None, silent: bool = False) -> None:
        self.hushed = self.json = False
        self.image: object = None
        self._stream = open(os.devnull, "w") if stream is None else stream  # noqa: SIM115 - as long as stdout
        self._silent = silent

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Writes text."""
        if self.hushed:
            return len(text)
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        with self._watched():
            self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        return len(text)

    def flush(self) -> None:
        """Flushes."""
        with self._watched():
            self._stream.flush()

    @contextmanager
    def _watched(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            _abandon(self._stream)
            if isinstance(error, BrokenPipeError) and not self._silent:
                raise
            if not self._silent:
                raise OutputError(f"standard output cannot be written: {error.strerror}") from None


@contextmanager
def outputs() -> Iterator[None]:
    """While open, both standard streams are an `Output`."""
    before = sys.stdout, sys.stderr
    sys.stdout = cast(TextIO, Output(before[0]))
    sys.stderr = cast(TextIO, Output(before[1], silent=True))
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def work_on(image: object) -> None:
    """Warnings that follow are about this image; None: about none."""
    if isinstance(sys.stdout, Output):
        sys.stdout.image = image


def warn(kind: str, text: str) -> None:
    """A warning on one line of standard error, with the image that is at work."""
    image = getattr(sys.stdout, "image", None)
    say(f"camport: {kind}: {'' if image is None else f'{image}: '}{text}", err=True)


def hush() -> None:
    """Standard output shows nothing until `outputs` ends; errors and warnings are still said."""
    if isinstance(sys.stdout, Output):
        sys.stdout.hushed = True


def results_as_json() -> None:
    """Standard output holds a line of JSON for each image and nothing else."""
    hush()
    if isinstance(sys.stdout, Output):
        sys.stdout.json = True


def hushed() -> bool:
    """Whether nothing but errors and warnings is shown."""
    return isinstance(sys.stdout, Output) and sys.stdout.hushed


def _abandon(stream: TextIO) -> None:
    """What the stream still holds goes nowhere."""
    with suppress(OSError, ValueError):  # no file may be behind it
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def _shown(letter: str) -> str:
    if category(letter) not in CONTROLS or letter in JOINERS:
        return letter
    if "\udc80" <= letter <= "\udcff":
        return f"\\x{ord(letter) - 0xDC00:02x}"
    return letter.encode("unicode_escape").decode("ascii")
