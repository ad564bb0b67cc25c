"""Weights in a file beside the .onnx: only from its own folder,
and only as many bytes as are there."""

import os
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np

from camport.errors import ModelError


@dataclass(frozen=True)
class External:
    """Where a tensor's bytes lie: `offset` in `path`. `name` names the tensor in messages."""

    path: Path
    offset: int
    length: int | None
    name: str

    @classmethod
    def of(cls, tensor: Any, folder: Path, name: str) -> "External":
        """What the tensor says; ModelError for a place outside of the folder or numbers that are
        none."""
        said = {entry.key: entry.value for entry in tensor.external_data}
        location = said.get("location", "")
        parts = PureWindowsPath(location).parts  # reads both kinds of slashes
        if (
            not location
            or location.startswith(("/", "\\"))
            or PureWindowsPath(location).drive
            or ".." in parts
        ):
            raise ModelError(
                f"{name} lies in {location!r}, outside of the model's folder; external data must"
                " lie beside the file"
            )
        path = folder / location
        if not os.path.realpath(path).startswith(os.path.realpath(folder) + os.sep):
            raise ModelError(
                f"{name} lies in {location!r}, which leads out of the model's folder by a link"
            )
        try:
            offset = int(said.get("offset") or 0)
            length = int(said["length"]) if "length" in said else None
        except ValueError:
            raise ModelError(f"{name} has an offset or length that is no number: {said}") from None
        if offset < 0 or (length is not None and length < 0):
            raise ModelError(f"{name} has a negative offset or length: {said}")
        return cls(path, offset, length, name)

    def check(self, wanted: int) -> None:
        """ModelError unless the file is there and holds `wanted` bytes at the offset."""
        if not self.path.is_file():
            raise ModelError(
                f"{self.name} lies in {self.path.name!r}, which is not beside the model; copy it"
                " there"
            )
        size = self.path.stat().st_size
        if self.length is not None and self.length != wanted:
            raise ModelError(
                f"{self.name} needs {wanted} bytes, but its external data has a length of"
                f" {self.length}"
            )
        if self.offset + wanted > size:
            raise ModelError(
                f"{self.name} needs {wanted} bytes at {self.offset} of {self.path.name!r}, which"
                f" has {size}; it is truncated"
            )

    def read(self, wanted: int, dtype: Any) -> np.ndarray:
        """The numbers."""
        kind = np.dtype(dtype).newbyteorder("<")
        return np.fromfile(self.path, dtype=kind, count=wanted // kind.itemsize, offset=self.offset)
