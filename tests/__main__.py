"""Everything that has to pass before a change lands: `python -m tests`; with `--all` the slow matrices too.

The first takes minutes: a case of each kind. `--all` adds the tests marked `everything`: every combination (all
methods in all formats, many networks), the oracles that install packages, and the networks of the real YOLO packages.
Other options go to pytest. `pytest FILE` and `pytest FILE::test` run what they name, marked or not.
"""

import subprocess
import sys

WORKERS = ["-n", "auto", "--maxprocesses", "4", "--dist", "worksteal"]
CHECKS = (
    ("lint", ["ruff", "check", "."]),
    ("format", ["ruff", "format", "--check", "."]),
    ("types", ["mypy"]),
    ("tests", ["pytest", *WORKERS, *sys.argv[1:]]),
)


def main() -> int:
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(__doc__)
        return 0
    failed = []
    for name, command in CHECKS:
        print(f"== {name}: {' '.join(command)}", flush=True)
        if subprocess.run([sys.executable, "-m", *command], check=False).returncode:
            failed.append(name)
    print(f"== failed: {', '.join(failed)}" if failed else "== all checks passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
