"""Runs a plan by pytest in a process of its own;
only the plan and pytest-benchmark's file go between the two."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from camport.bench.plan import Plan
from camport.errors import CamportError

HERE = Path(__file__).parent
PROGRESS = "camport bench: "
"""What a line begins with that tells of an entry that is done."""


def run(
    plan: Plan, progress: Callable[[int, int, str], None] = lambda done, total, name: None
) -> dict[str, Any]:
    """pytest-benchmark's report of the plan, with the reasons by entry of what was refused,
    `left_out`, and of what raised something else, `failed`.

    Raises:
        CamportError: pytest failed.
    """
    total = sum(1 for _ in plan.entries())
    with tempfile.TemporaryDirectory() as folder:
        target, planned = Path(folder) / "run.json", Path(folder) / "plan.json"
        plan.write(planned)
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-c",
            str(HERE / "pytest.ini"),
            "--rootdir",
            str(HERE),
        ]
        command += [
            "-p",
            "pytest_benchmark.plugin",
            f"--benchmark-json={target}",
            f"--plan={planned}",
        ]
        command += [f"--benchmark-storage=file://{folder}/storage", str(HERE / "test_cost.py")]
        # other plugins would be timed, and a worker of pytest-xdist, which may be the caller,
        # measures nothing
        kept = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
        environment = kept | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        said: list[str] = []
        with subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process:
            assert process.stdout is not None
            done = 0
            try:
                for line in process.stdout:
                    if line.startswith(PROGRESS):
                        done += 1
                        progress(done, total, line.removeprefix(PROGRESS).strip())
                    else:
                        said.append(line)
            except BaseException:
                process.terminate()
                raise
        if process.returncode not in (0, 1, 5) or not target.is_file() or not target.stat().st_size:
            raise CamportError(f"pytest ended with status {process.returncode}: {_reason(said)}")
        found: dict[str, Any] = json.loads(target.read_text(encoding="utf-8"))
        return found


def _reason(said: list[str]) -> str:
    """The last thing that pytest called an error."""
    raised = [line.strip() for line in said if line.startswith("E  ")]
    errors = raised or [line.strip() for line in said if line.startswith(("ERROR", "FAILED"))]
    return (errors or [line.strip() for line in said if line.strip()] or ["it said nothing"])[-1]
