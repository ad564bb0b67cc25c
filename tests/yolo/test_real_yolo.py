"""YOLO networks of the packages that write them, with random weights,
in an environment of their own.

The packages are installed there by pip, and what is checked there stands in the files of CHECKS.
"""

import subprocess
from pathlib import Path

import pytest

from tests.yolo.environment import CHECKOUT, make, settings

HERE = Path(__file__).parent
CHECKS = ("check_networks.py", "check_files.py", "check_exports.py")
pytestmark = pytest.mark.everything


def test_in_an_environment_of_their_own(tmp_path):
    python = make(tmp_path / "venv")
    options = ["-q", "-p", "no:cacheprovider", "-W", "default", f"--basetemp={tmp_path / 'checks'}"]
    command = [str(python), "-m", "pytest", *(str(HERE / name) for name in CHECKS), *options]
    done = subprocess.run(
        command,
        cwd=CHECKOUT,
        env=settings(tmp_path),
        capture_output=True,
        text=True,
        check=False,
        timeout=1200,
    )
    assert not done.returncode, done.stdout[-8000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout
