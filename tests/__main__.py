"""Everything that has to pass before a change lands: `python -m tests`;
with `--all` the slow matrices too.

The first takes minutes: a case of each kind. `--all` adds the tests marked `everything`: every
combination (all methods in all formats, many networks), the oracles that install packages, and the
networks of the real YOLO packages. Other options go to pytest. `pytest FILE` and
`pytest FILE::test` run what they name, marked or not.
"""

import os
import subprocess
import sys

from tests.audit import NOT_AUDITED
from tests.edge import tools
from tests.web import driver

WORKERS = ["-n", "auto", "--maxprocesses", "4", "--dist", "worksteal"]
CHECKS = (
    ("lint", ["ruff", "check", "."]),
    ("format", ["ruff", "format", "--check", "."]),
    ("types", ["mypy"]),
    ("tests", ["pytest", *WORKERS, *sys.argv[1:]]),
)
AUDIT = ("audit", ["tests.audit"])
"""By --all alone, since it asks a service; where that does not answer the last line says so."""


def main() -> int:
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(__doc__)
        return 0
    # where it is set each of the tests' many processes compiles PyTorch's sources anew,
    # 4 CPU seconds each time
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    failed, undone = [], []
    for name, command in (*CHECKS, *([AUDIT] if "--all" in sys.argv else [])):
        print(f"== {name}: {' '.join(command)}", flush=True)
        status = subprocess.run([sys.executable, "-m", *command], check=False).returncode
        if status:
            (undone if name == "audit" and status == NOT_AUDITED else failed).append(name)
    print(f"== failed: {', '.join(failed)}" if failed else "== all checks passed")
    if "--all" in sys.argv:
        wants = {"tests/web": driver.missing(), "tests/edge": tools.missing()}
        undone += [
            f"{place}, for want of {', '.join(lacking)}"
            for place, lacking in wants.items()
            if lacking
        ]
    if undone:
        print(f"== not done: {', '.join(undone)}; the lines above say why")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
