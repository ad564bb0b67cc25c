"""The bridges and their page with the packages that they lead to,
in an environment of their own."""

import subprocess
from pathlib import Path

import pytest

from tests.yolo.environment import CHECKOUT, make, settings

HERE = Path(__file__).parent
CHECKS = ("check_packages.py", "check_page.py")
pytestmark = pytest.mark.everything


def test_in_an_environment_of_their_own(tmp_path):
    python = make(tmp_path / "venv", HERE / "requirements.txt", whole=True)
    # FiftyOne keeps its settings in the user's folder, MLflow beside the program
    variables = {**settings(tmp_path), "HOME": str(tmp_path), "USERPROFILE": str(tmp_path)}
    options = ["-q", "-p", "no:cacheprovider", "-W", "default", f"--basetemp={tmp_path / 'checks'}"]
    command = [str(python), "-m", "pytest", *(str(HERE / name) for name in CHECKS), *options]
    done = subprocess.run(
        command,
        cwd=CHECKOUT,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert not done.returncode, done.stdout[-8000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout
