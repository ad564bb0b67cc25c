"""An environment of its own, for the YOLO packages or others,
which sees the libraries of the one that makes it."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
REQUIREMENTS = Path(__file__).with_name("requirements.txt")


def make(folder: Path, requirements: Path = REQUIREMENTS, *, whole: bool = False) -> Path:
    """Makes it in `folder` and gives its interpreter;
    packages come from whatever index pip is set up with.

    Args:
        folder: where.
        requirements: what is installed.
        whole: with what that needs itself, where it is not there already.
    """
    _done([sys.executable, "-m", "venv", str(folder)])
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    own = Path(
        _done([str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]).strip()
    )
    # a directory that is added as a site reads its own .pth files too:
    # an editable camport is found as here
    seen = dict.fromkeys(sysconfig.get_path(kind) for kind in ("purelib", "platlib"))
    (own / "parent.pth").write_text(
        "import site; " + "; ".join(f"site.addsitedir({path!r})" for path in seen) + "\n"
    )
    options = [
        *([] if whole else ["--no-deps"]),
        "--no-input",
        "--disable-pip-version-check",
        "--quiet",
    ]
    _done([str(python), "-m", "pip", "install", *options, "-r", str(requirements)])
    return python


def settings(folder: Path) -> dict[str, str]:
    """Variables for commands in it: nothing is fetched, nothing is written outside `folder`,
    one thread."""
    quiet = {
        "YOLO_OFFLINE": "true",
        "YOLO_AUTOINSTALL": "false",
        "YOLO_VERBOSE": "false",
        "OMP_NUM_THREADS": "1",
    }
    places = ("YOLO_CONFIG_DIR", "YOLOV5_CONFIG_DIR", "MPLCONFIGDIR")
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTEST", "COVERAGE"))
    }
    return {**kept, **quiet, **dict.fromkeys(places, str(folder)), "PYTHONPATH": str(CHECKOUT)}


def _done(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not done.returncode, (
        f"{' '.join(command[:4])} ... failed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
    )
    return done.stdout
