"""PyTorch's archives, made in memory: its writer ends the process where a write to the disk
fails."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

ROOM = 1 << 20
"""Bytes of an archive beside its tensors: more than a graph takes as a rule."""


class _Memory(io.BytesIO):
    """Bytes with room for what is coming: the writer, which is C++,
    ends the process as well where none is found.

    Its `write` stays that of `io.BytesIO`, in which no signal is handled: an error raised there
    does the same.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        super().seek(size + ROOM)
        super().write(b"\0")
        super().seek(0)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Nothing: the writer goes forward, and `torch.export.save` back to the beginning when all
        is written."""
        return self.tell()


def write_archive(path: Path, size: int, save: Callable[[IO[bytes]], Any]) -> None:
    """Writes what `save` gives to a stream as one file.

    Args:
        path: a new file.
        size: bytes of the tensors.
        save: `torch.export.save` or the like, given the stream.

    Raises:
        OSError: the file cannot be written.
        MemoryError: there is no memory for a second copy of the tensors.
    """
    memory = _Memory(size)
    save(memory)
    with path.open("wb") as file, memory.getbuffer() as content:
        file.write(content[: memory.tell()])
