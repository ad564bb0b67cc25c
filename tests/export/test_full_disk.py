"""A full disk while PyTorch's archives are written is an error of the file,
and the process goes on."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from programs import IMAGES, Bound, CamProgram, small
from torch import nn

from camport.errors import silenced
from camport.export import to_onnx, to_pt2, to_torchscript
from camport.export.writing.archive import write_archive
from tests.faults import Contents, ends, fail_each

WRITERS = {"a.onnx": to_onnx, "a.pt2": to_pt2, "a.pt": to_torchscript}


def export(path: Path) -> object:
    """A small network's file with its report."""
    return WRITERS[path.name](
        Bound(CamProgram(small(), "2", classes=10)), path, IMAGES, report=True
    )


KILLED = """
import dataclasses, json, sys
from pathlib import Path
import torch
from test_full_disk import ends, export, whole
from tests.faults import kill_each

torch.set_num_threads(1)
folder, name = Path(sys.argv[1]), sys.argv[2]
old = {name: b"old"}

def each_whole(files):  # two renames cannot be one: the report is in its place a moment before the file
    report = json.loads(files.get(f"{name}.report.json", "{}"))
    return whole(files) or (files.get(name) == b"old" and bool(report))

told = kill_each(lambda: export(folder / name), folder, old, each_whole, ends)
print(json.dumps(dataclasses.asdict(told)))
"""


def whole(files: Contents) -> bool:
    """A file and its report, and the file is read to its end."""
    names = [name for name in WRITERS if name in files]
    if len(names) != 1 or set(files) != {names[0], f"{names[0]}.report.json"}:
        return False
    try:
        stream = io.BytesIO(files[names[0]])
        if names[0] == "a.pt2":
            torch.export.load(stream)
        elif names[0] == "a.pt":
            with silenced(Warning):  # torch deprecates its own format
                torch.jit.load(stream)
        else:
            import onnxruntime

            onnxruntime.InferenceSession(stream.getvalue(), providers=["CPUExecutionProvider"])
    except Exception:  # each format's own
        return False
    return True


@pytest.mark.everything
@pytest.mark.parametrize("name", ["a.pt2", "a.pt"])
def test_the_last_bytes_do_not_fit(tmp_path: Path, name: str) -> None:
    def last_write(operations: list[str]) -> list[int]:
        return [max(n for n, operation in enumerate(operations) if operation == "write")]

    folder = tmp_path / "out"
    told = fail_each(lambda: export(folder / name), folder, {name: b"old"}, whole, last_write)
    assert told.failures == []
    assert told.faults == {"write": 1}


@pytest.mark.everything
@pytest.mark.parametrize("name", WRITERS)
def test_each_kind_of_operation_fails_first_and_last(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "out"
    told = fail_each(lambda: export(folder / name), folder, {name: b"old"}, whole, ends)
    assert told.failures == []
    assert {"mkdir", "open", "write", "fsync", "rename"} <= set(told.faults)


@pytest.mark.everything
@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks are killed")
@pytest.mark.parametrize("name", WRITERS)
def test_killed_in_the_draft_the_proof_and_the_rename(tmp_path: Path, name: str) -> None:
    here = Path(__file__)
    places = os.pathsep.join(map(str, (here.parents[2], here.parent)))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", KILLED, str(tmp_path / "out"), name],
        env={**os.environ, "PYTHONPATH": places},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["failures"] == []
    assert {"mkdir", "open", "write", "fsync", "rename"} <= set(told["faults"])


def test_an_archive_is_what_torch_writes(tmp_path: Path) -> None:
    program = torch.export.export(nn.Linear(300, 300), (torch.rand(1, 300),))
    for size in (0, 10**7):  # too little room, and more than enough
        path = tmp_path / f"{size}.pt2"
        write_archive(path, size, lambda stream: torch.export.save(program, stream))
        x = torch.rand(1, 300)
        assert torch.equal(torch.export.load(path).module()(x), program.module()(x))
        assert path.stat().st_size < 10**6


def test_no_room_for_a_second_copy(tmp_path: Path) -> None:
    with pytest.raises(MemoryError):
        write_archive(tmp_path / "a.pt2", 1 << 60, lambda stream: stream.write(b"x"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no full device")
def test_the_full_device(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space left"):
        write_archive(Path("/dev/full"), 0, lambda stream: torch.save(torch.zeros(9), stream))
