"""What is written for all tests is written once,
and a file's fresh process is one that cannot import camport."""

import subprocess
import sys
from threading import Thread

import pytest

from tests.shared_files import SharedFiles

SILENT = [sys.executable, "-W", "ignore", "-c"]


def test_what_two_processes_want_is_written_once(tmp_path):
    written, found = [], []

    def write(folder):
        written.append(folder)
        (folder / "a").write_text("whole")
        return len(written)

    asking = [
        Thread(target=lambda: found.append(SharedFiles(tmp_path)("name", write))) for _ in range(4)
    ]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    assert written == [tmp_path / "name"]
    assert found == [(tmp_path / "name", 1)] * 4
    assert (tmp_path / "name" / "a").read_text() == "whole"


def test_what_fails_is_tried_again(tmp_path):
    shared = SharedFiles(tmp_path)
    with pytest.raises(ZeroDivisionError):
        shared("name", lambda folder: 1 / 0)
    assert shared("name", lambda folder: "now") == (tmp_path / "name", "now")


def test_a_fork_of_the_fresh_process_says_what_a_process_says(forks):
    done = forks.run(
        [*SILENT, "import sys; print(sys.argv[1:]); sys.modules['camport'] = None", "one", "two"]
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "['one', 'two']\n", "")
    done = forks.run(
        [*SILENT, "import sys; assert 'camport' not in sys.modules; raise OSError('torn')"]
    )
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1] == "OSError: torn"
    with pytest.raises(subprocess.CalledProcessError):
        forks.run([*SILENT, "import sys; sys.exit(3)"], check=True)
