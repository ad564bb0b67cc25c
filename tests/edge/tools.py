"""What building a C++ program with ONNX Runtime needs: a compiler, npm for the headers,
the library of the package."""

import shutil
import subprocess
import tarfile
from importlib.util import find_spec
from pathlib import Path

HEADERS = "com.github.asus4.onnxruntime@0.4.9"
"""A package for Unity: of what npm, PyPI and Debian 12 have,
the one with ONNX Runtime's headers (1.29's)."""


def library() -> Path | None:
    """The shared library that `import onnxruntime` runs, on Linux."""
    package = find_spec("onnxruntime")
    found = (
        [*Path(package.origin).parent.glob("capi/libonnxruntime.so.*")]
        if package and package.origin
        else []
    )
    return found[0] if found else None


def missing() -> list[str]:
    """What the test of the C++ program needs, and this machine lacks."""
    found = {name: bool(shutil.which(name)) for name in ("g++", "npm")} | {
        "libonnxruntime.so": bool(library())
    }
    return [name for name, there in found.items() if not there]


def lay(folder: Path) -> None:
    """include/ and lib/ as a release of ONNX Runtime has them."""
    include, lib = folder / "include", folder / "lib"
    include.mkdir(parents=True)
    lib.mkdir()
    packed = subprocess.run(
        ["npm", "pack", "--silent", HEADERS], check=True, cwd=folder, capture_output=True, text=True
    ).stdout.split()[-1]
    with tarfile.open(folder / packed) as archive:
        for entry in archive:
            if "/ios-arm64/" in entry.name and entry.name.endswith(
                ".h"
            ):  # each platform's folder has the same ones
                (include / Path(entry.name).name).write_bytes(archive.extractfile(entry).read())
    (folder / packed).unlink()
    for name in (
        "libonnxruntime.so",
        "libonnxruntime.so.1",
    ):  # the linker's, and the one that the program opens
        (lib / name).symlink_to(library())
