"""Builds a release and looks at it: `python -m tools.release`. It stops before the upload,
which a person does.

1. The tree is committed, and the version in pyproject.toml has a dated section in CHANGELOG.md.
2. sdist and wheel are built from a fresh checkout of HEAD, the wheel out of the sdist.
3. `twine check --strict` reads what the index will show.
4. The wheel is installed into an environment of its own: without extras `camport --help` and
   `import camport` have to work, and with `[torch,cpu,demo]` the demo, unless `--bare` leaves that
   out.

Needs the extra `release` and the package index.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import tomllib
import venv
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]


class ReleaseError(Exception):
    """What keeps this from being a release."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.release", description=__doc__.splitlines()[0]
    )
    parser.add_argument(
        "-o", "--output", type=Path, default=ROOT / "dist", help="the folder of sdist and wheel"
    )
    parser.add_argument(
        "--bare", action="store_true", help="leave out the installation with PyTorch"
    )
    parser.add_argument(
        "--rehearsal",
        action="store_true",
        help="also of a tree, or a version, that is not released yet",
    )
    given = parser.parse_args(arguments)
    try:
        version = checked(ROOT, given.rehearsal)
        files = build(ROOT, given.output)
        run(sys.executable, "-m", "twine", "check", "--strict", *map(str, files))
        smoke(next(path for path in files if path.suffix == ".whl"), version, given.bare)
    except (ReleaseError, subprocess.CalledProcessError) as error:
        print(f"no release: {error}", file=sys.stderr)
        return 1
    print(
        f"camport {version}: {', '.join(path.name for path in files)} in {given.output}. Nothing"
        " was uploaded;"
    )
    print(
        f"upload with: python -m twine upload {given.output}/*{version}*, then git tag v{version}"
    )
    return 0


def checked(root: Path, rehearsal: bool = False) -> str:
    """The version to be released; ReleaseError where the tree or the changelog is not ready."""
    version = str(
        tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    )
    heads = re.findall(
        r"^## (\S+?),? *(\S*)$", (root / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    dated = dict(heads)
    if version not in dated:
        raise ReleaseError(
            f"CHANGELOG.md has no section '## {version}, DATE'; it has {', '.join(dated) or 'none'}"
        )
    if rehearsal:
        return version
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", dated[version]):
        raise ReleaseError(
            f"CHANGELOG.md's section of {version} has no date: {dated[version]!r}; e.g. 2026-01-31"
        )
    changed = subprocess.run(
        ["git", "status", "--porcelain"], cwd=root, capture_output=True, text=True, check=True
    )
    if changed.stdout:
        raise ReleaseError(f"the tree has changes that are not committed:\n{changed.stdout}")
    return version


def build(root: Path, output: Path) -> list[Path]:
    """sdist and wheel of what is committed."""
    before = set(output.glob("*"))
    with tempfile.TemporaryDirectory() as folder:
        run("git", "clone", "--quiet", str(root), folder)
        run(sys.executable, "-m", "build", "--outdir", str(output), folder)
    files = sorted(
        path for path in output.glob("*") if path not in before or path.suffix in (".whl", ".gz")
    )
    if {path.suffix for path in files} != {".whl", ".gz"}:
        raise ReleaseError(
            f"wanted one sdist and one wheel in {output}; there is {[path.name for path in files]}"
        )
    return files


def smoke(wheel: Path, version: str, bare: bool) -> None:
    """Installs the wheel into a fresh environment and runs what a newcomer runs first."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = Path(folder, "Scripts" if sys.platform == "win32" else "bin", "python")
        run(str(python), "-m", "pip", "install", "--quiet", str(wheel))
        said = run(str(python), "-c", "import camport; print(camport.__version__)", cwd=folder)
        if said.strip() != version:
            raise ReleaseError(
                f"the wheel calls itself {said.strip()}, and pyproject.toml {version}"
            )
        run(str(python), "-m", "camport", "--help", cwd=folder)
        if not bare:
            run(str(python), "-m", "pip", "install", "--quiet", f"{wheel}[torch,cpu,demo]")
            run(str(python), "-m", "camport", "demo", "-o", str(Path(folder, "demo")), cwd=folder)


def run(*command: str, cwd: str | None = None) -> str:
    """Runs a command and gives what it printed; what it complains of is shown."""
    print("$", *command, flush=True)
    done = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
