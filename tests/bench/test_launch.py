"""The process that measures: what it is given of this one's surroundings."""

import io
import json
import subprocess
from pathlib import Path

import pytest

from camport.bench import launch
from camport.bench.plan import Network, Plan

PLAN = Plan((Network("demo:digits"),), ("gradcam",), ("eager",), seconds=0.1)


@pytest.fixture
def started(monkeypatch):
    """The environment of the process that would have been started; it writes a report and ends."""
    given = {}

    class Process:
        returncode = 0

        def __init__(self, command, env, **_):
            given.update(env)
            (report,) = [
                part.partition("=")[2] for part in command if part.startswith("--benchmark-json=")
            ]
            Path(report).write_text(json.dumps({"benchmarks": []}))
            self.stdout = io.StringIO("")

        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

    monkeypatch.setattr(subprocess, "Popen", Process)
    return given


def test_a_caller_within_pytest_is_not_heard_of(started, monkeypatch):
    """pytest-benchmark measures nothing where PYTEST_XDIST_WORKER says that it runs in a worker."""
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_ADDOPTS", "PYTEST_PLUGINS", "PYTEST_CURRENT_TEST"):
        monkeypatch.setenv(name, "gw0")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    launch.run(PLAN)
    assert {name for name in started if name.startswith("PYTEST_")} == {
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD"
    }
    assert started["OMP_NUM_THREADS"] == "1"
