"""The command line as a user meets it: what it prints, its exit status,
and the files that are there afterwards."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from camport.cli import main

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(autouse=True, scope="package")
def one_thread():
    """Networks this small run faster on one thread,
    above all where other work goes on beside them."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@dataclass(frozen=True)
class Done:
    """One finished command."""

    status: int
    out: str
    err: str


@pytest.fixture
def camport(capsys, tmp_path, monkeypatch) -> Callable[..., Done]:
    """camport("explain", ...) in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))  # the command adds the folder it is run in

    def run(*arguments: object) -> Done:
        capsys.readouterr()
        status = main([str(a) for a in arguments])
        captured = capsys.readouterr()
        return Done(status, captured.out, captured.err)

    return run


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    """Everything below a folder, with size and time of the last change."""
    found = {}
    for place in sorted(folder.rglob("*")):
        if "__pycache__" not in place.parts:
            stat = place.lstat()
            found[str(place)] = (stat.st_size, stat.st_mtime_ns) if place.is_file() else (0, 0)
    return found


@pytest.fixture
def refused(camport, tmp_path) -> Callable[..., None]:
    """refused(match, "explain", ...): one line on stderr, exit status 2,
    and not a file more or less than before."""

    def run(match: str, *arguments: object) -> None:
        before = listing(tmp_path)
        done = camport(*arguments)
        assert done.status == 2, done
        lines = done.err.splitlines()
        assert len(lines) == 1, done.err
        assert lines[0].startswith("camport: error: ")
        assert re.search(match, lines[0]), lines[0]
        assert "Traceback" not in done.out + done.err
        assert listing(tmp_path) == before

    return run


@pytest.fixture
def photo(tmp_path) -> Path:
    """A picture whose sides differ from each other and from what the networks want."""
    path = tmp_path / "photo.png"
    noise = np.random.default_rng(0).integers(0, 255, (9, 12, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((96, 72)).save(path)
    return path


@pytest.fixture(scope="session")
def exported(shared) -> Path:
    """The demo's pooling network with Grad-CAM, as `camport export` writes it."""
    name = "gap-pool-gradcam.onnx"
    folder, status = shared(
        "gap-pool", lambda folder: main(["export", "-m", "demo:gap-pool", "-o", str(folder / name)])
    )
    assert status == 0
    return folder / name


def fresh(code: str, *arguments: object, cwd: Path | None = None, **environment: str) -> Done:
    """Python code in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT), **environment},
    )
    return Done(done.returncode, done.stdout, done.stderr)
