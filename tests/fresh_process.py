"""One fresh process for all files that PyTorch alone runs: it imports torch once,
and each file gets a fork of it."""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from types import SimpleNamespace

import pytest

from camport.export.writing import fresh_process as running

_SERVER = """
import base64, json, os, sys, tempfile, traceback, warnings
import torch, torch._export.serde.serialize

assert not any(name.split(".")[0] == "camport" for name in sys.modules)
for line in sys.stdin:
    code, argv, given = json.loads(line)
    with tempfile.TemporaryFile() as into, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        into.write(base64.b64decode(given)), into.seek(0)
        child = os.fork()
        if not child:
            status = 1
            try:
                os.dup2(out.fileno(), 1), os.dup2(err.fileno(), 2), os.dup2(into.fileno(), 0)
                sys.stdin = open(0, closefd=False)
                warnings.simplefilter("ignore")
                sys.argv = ["-c", *argv]
                exec(code, {"__name__": "__main__"})
                status = 0
            except BaseException:
                traceback.print_exc()
            sys.stdout.flush(), sys.stderr.flush()
            os._exit(status)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        said = []
        for stream in (out, err):
            stream.seek(0)
            said.append(base64.b64encode(stream.read()).decode())
    print(json.dumps([status, *said]), flush=True)
"""


class FreshProcess:
    """Started when it is first asked."""

    def __init__(self) -> None:
        self._server: subprocess.Popen | None = None

    def run(
        self,
        command: Sequence[str],
        check: bool = False,
        input: bytes | None = None,
        **options: object,
    ) -> subprocess.CompletedProcess:
        """As `subprocess.run` of `python -W ignore -c CODE ARGUMENTS...`; output is captured,
        as text without input."""
        python, *silent, code_option, code = command[:5]
        assert (python, silent, code_option) == (sys.executable, ["-W", "ignore"], "-c")
        if not hasattr(os, "fork"):
            return subprocess.run(
                command, check=check, input=input, capture_output=True, text=input is None
            )
        if self._server is None:
            start = [sys.executable, "-W", "ignore", "-c", _SERVER]
            self._server = subprocess.Popen(
                start, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        self._server.stdin.write(
            json.dumps([code, list(command[5:]), base64.b64encode(input or b"").decode()]) + "\n"
        )
        self._server.stdin.flush()
        status, *said = json.loads(self._server.stdout.readline())
        streams = [base64.b64decode(text) for text in said]
        if input is None:
            streams = [stream.decode(errors="replace") for stream in streams]
        done = subprocess.CompletedProcess(list(command), status, *streams)
        if check:
            done.check_returncode()
        return done

    def close(self) -> None:
        """Ends it."""
        if self._server is not None:
            self._server.communicate()


@pytest.fixture(scope="session")
def forks():
    process = FreshProcess()
    yield process
    process.close()


@pytest.fixture
def fresh_process(forks, monkeypatch) -> FreshProcess:
    """The process, in which exports to .pt2 and .pt, too,
    run their files while a test asks for it."""
    monkeypatch.setattr(
        running, "subprocess", SimpleNamespace(run=forks.run, DEVNULL=subprocess.DEVNULL)
    )
    return forks
