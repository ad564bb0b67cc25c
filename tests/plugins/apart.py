"""Libraries that cannot be installed beside the others: each in a folder of its own,
run in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]


def install(folder: Path, packages: list[str]) -> Path:
    """`folder`, with these packages in it and without what they ask for."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--target",
        str(folder),
        *packages,
    ]
    subprocess.run(command, check=True)
    return folder


def result(program: str, packages: Path, folder: Path, **given: np.ndarray) -> np.ndarray:
    """The array that `program` saves in the second of its arguments;
    the first is an .npz file of `given`."""
    np.savez(folder / "given.npz", **given)
    files = [str(folder / "given.npz"), str(folder / "result.npy")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(packages), str(ROOT)])}
    command = [sys.executable, "-W", "ignore", "-c", program, *files]
    subprocess.run(command, check=True, env=environment, cwd=ROOT)
    return np.load(files[1])
