"""The release script: what it refuses, and a whole rehearsal from the tree as it is committed."""

import subprocess
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

from tools.release import ReleaseError, checked

ROOT = Path(__file__).parents[1]


def tree(folder, version="1.2.0", changelog="# Changelog\n\n## 1.2.0, 2026-01-31\n\n- All.\n"):
    (folder / "pyproject.toml").write_text(f'[project]\nname = "x"\nversion = "{version}"\n')
    (folder / "CHANGELOG.md").write_text(changelog)
    for command in (
        ["init", "-q"],
        ["add", "-A"],
        ["-c", "user.name=x", "-c", "user.email=x@x", "commit", "-qm", "x"],
    ):
        subprocess.run(["git", *command], cwd=folder, check=True)
    return folder


def test_a_committed_tree_with_a_dated_section_is_ready(tmp_path):
    assert checked(tree(tmp_path)) == "1.2.0"


def test_what_keeps_it_from_being_a_release(tmp_path):
    with pytest.raises(ReleaseError, match=r"no section '## 1\.3\.0, DATE'; it has 1\.2\.0"):
        checked(tree(tmp_path, version="1.3.0"))
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "1.2.0"\n')
    with pytest.raises(ReleaseError, match="changes that are not committed"):
        checked(tmp_path)
    (tmp_path / "CHANGELOG.md").write_text("## 1.2.0, unreleased\n")
    with pytest.raises(ReleaseError, match="has no date: 'unreleased'"):
        checked(tmp_path)
    assert checked(tmp_path, rehearsal=True) == "1.2.0"


@pytest.mark.everything
def test_a_rehearsal(tmp_path):
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=True)
    python = str(environment / "bin" / "python")
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]["release"]
    subprocess.run([python, "-m", "pip", "install", "-q", *wanted], check=True)
    command = [python, "-m", "tools.release", "--rehearsal", "--bare", "-o", str(tmp_path / "dist")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Nothing was uploaded" in done.stdout
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as opened:
        names = opened.namelist()
    assert "camport/py.typed" in names
    assert all(name.startswith("camport/") or ".dist-info/" in name for name in names)
