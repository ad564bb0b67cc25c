"""Files that many tests read are written once, by whichever process comes first,
and read by all."""

import os
import pickle
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

WAIT = 600
"""Seconds for which a process waits for what another one writes."""


class SharedFiles:
    """Folders by name under `root`, which is the same for all processes of a run."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __call__(self, name: str, write: Callable[[Path], Any]) -> tuple[Path, Any]:
        """The folder that `write` has filled, and what it returned, which is pickled.
        Do not write there.

        Raises:
            whatever `write` raises; the next who asks then tries again.
        """
        folder, result, lock = (self.root / (name + end) for end in ("", ".result", ".lock"))
        end = time.monotonic() + WAIT
        while not result.exists():
            try:
                os.close(os.open(lock, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                assert time.monotonic() < end, f"{lock} was held for {WAIT} s"
                time.sleep(0.1)
                continue
            try:
                if not result.exists():
                    folder.mkdir(exist_ok=True)
                    whole = result.with_suffix(".part")
                    whole.write_bytes(pickle.dumps(write(folder)))
                    whole.rename(result)
            finally:
                lock.unlink()
        return folder, pickle.loads(result.read_bytes())


@pytest.fixture(scope="session")
def shared(tmp_path_factory) -> SharedFiles:
    """shared(name, write) -> (folder, what `write(folder)` returned)."""
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent  # the workers' temporary folders lie side by side
    root = root / "shared"
    root.mkdir(exist_ok=True)
    return SharedFiles(root)
