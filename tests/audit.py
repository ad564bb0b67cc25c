"""Known vulnerabilities of what camport depends on, by pip-audit:
a check of `python -m tests --all`.

pip-audit says "No known vulnerabilities found" of packages that it could not look up, too. Here
these are named, and a service that cannot be reached is no success: exit status 2, "not audited".
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

EXTRAS = ("torch", "cpu")
CLEAN, VULNERABLE, NOT_AUDITED = 0, 1, 2


def installed(name: str = "camport", extras: Iterable[str] = EXTRAS) -> dict[str, str]:
    """What is installed of a distribution's dependencies and theirs: name to version."""
    found: dict[str, str] = {}
    waiting = [(name, frozenset(extras))]
    while waiting:
        at, asked = waiting.pop()
        for text in metadata.requires(at) or ():
            wanted = Requirement(text)
            environments = [{"extra": extra} for extra in ("", *asked)]
            if wanted.marker is not None and not any(map(wanted.marker.evaluate, environments)):
                continue
            called = canonicalize_name(wanted.name)
            if called in found:
                continue
            try:
                found[called] = metadata.version(wanted.name).partition("+")[0]  # "2.11.0+cpu"
            except metadata.PackageNotFoundError:
                continue
            waiting.append((called, frozenset(wanted.extras)))
    return found


def verdict(asked: Mapping[str, str], answer: str) -> tuple[int, str]:
    """Exit status and one line of pip-audit's JSON; what is not in it was not audited."""
    try:
        dependencies: list[dict[str, Any]] = json.loads(answer)["dependencies"]
    except (ValueError, KeyError, TypeError):
        dependencies = []
    audited = {canonicalize_name(entry["name"]) for entry in dependencies if "vulns" in entry}
    bad = [
        f"{entry['name']} {entry['version']}:"
        f" {', '.join(vulnerability['id'] for vulnerability in entry['vulns'])}"
        for entry in dependencies
        if entry.get("vulns")
    ]
    if bad:
        return VULNERABLE, f"vulnerable: {'; '.join(bad)}"
    lacking = sorted(
        f"{name} {version}"
        for name, version in asked.items()
        if canonicalize_name(name) not in audited
    )
    if lacking:
        return (
            NOT_AUDITED,
            (
                "NOT AUDITED, since the service does not answer or does not know them:"
                f" {', '.join(lacking)}"
            ),
        )
    return CLEAN, f"{len(audited)} packages have no known vulnerability"


def main() -> int:
    """Installs pip-audit into a folder of its own, asks, and prints the verdict."""
    asked, answer = installed(), ""
    with tempfile.TemporaryDirectory() as made:
        listed = Path(made) / "requirements.txt"
        listed.write_text("".join(f"{name}=={version}\n" for name, version in asked.items()))
        packages = str(Path(made) / "packages")
        commands = (
            [sys.executable, "-m", "pip", "install", "-q", "--target", packages, "pip-audit"],
            [
                *(
                    sys.executable,
                    "-m",
                    "pip_audit",
                    "--no-deps",
                    "--disable-pip",
                    "--progress-spinner",
                    "off",
                ),
                *("-f", "json", "-r", str(listed)),
            ],
        )
        environment = {**os.environ, "PYTHONPATH": packages}
        for command in commands:
            done = subprocess.run(
                command, check=False, capture_output=True, text=True, env=environment
            )
            answer = done.stdout
            if not answer and done.returncode:
                print((done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1])
                break
    status, line = verdict(asked, answer)
    print(line)
    return status


if __name__ == "__main__":
    sys.exit(main())
