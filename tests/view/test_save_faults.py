"""Saving a picture or numbers where every operation on files fails once,
and is the last one once."""

import io
import os
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from camport.errors import OutputError
from camport.view import save_arrays, save_image
from tests.faults import Contents, fail_each, kill_each

NOISE = np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8)
HEATMAP = np.random.default_rng(1).random((2, 90, 120), dtype=np.float32)
KINDS = ("out.png", "out.jpg", "out.npy", "out.npz")


def saving(path: Path) -> Callable[[], object]:
    """What writes `path`."""
    if path.suffix in (".png", ".jpg"):
        return lambda: save_image(path, NOISE)
    return lambda: save_arrays(path, HEATMAP)


def whole(files: Contents) -> bool:
    """One new file that is read to its end."""
    if len(files) != 1:
        return False
    ((name, content),) = files.items()
    try:
        if name.endswith(("png", "jpg")):
            with Image.open(io.BytesIO(content)) as picture:
                picture.load()
                return picture.size == (120, 90)
        found = np.load(io.BytesIO(content))
        return np.array_equal(found["heatmap"] if name.endswith("npz") else found, HEATMAP)
    except (OSError, ValueError, zipfile.BadZipFile):
        return False


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("name", KINDS)
def test_each_operation_fails_once(tmp_path: Path, name: str, there: bool) -> None:
    folder = tmp_path / "out"
    told = fail_each(saving(folder / name), folder, {name: b"old"} if there else {}, whole)
    assert told.failures == []
    kinds = (
        {"open", "fsync", "rename"} if name == "out.jpg" else {"open", "write", "fsync", "rename"}
    )
    assert kinds <= set(told.faults)  # Pillow writes a JPEG through its descriptor
    assert told.faults["fsync"] == 2


@pytest.mark.everything
@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks are killed")
@pytest.mark.parametrize("name", KINDS)
def test_killed_at_each_operation(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "out"
    told = kill_each(saving(folder / name), folder, {name: b"old"}, whole)
    assert told.failures == []
    assert {"open", "fsync", "rename"} <= set(told.faults)


@pytest.mark.skipif(sys.platform != "linux", reason="a limit of Linux")
@pytest.mark.parametrize("name", ["out.npy", "out.npz"])
def test_the_system_s_reason_is_told(tmp_path: Path, name: str) -> None:
    """Of a whole file NumPy counts the bytes, and says "21600 requested and 3968 written"."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(OutputError, match=f"{name} cannot be written: File too large"):
            save_arrays(tmp_path / name, HEATMAP)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []
