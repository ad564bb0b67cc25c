"""Running a file in a process of its own, by PyTorch alone: what its user will do."""

import io
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from camport.errors import ExportError

_CODE = """
import io, os, sys
sys.modules["camport"] = None
answer = os.dup(1)
os.dup2(2, 1)  # what libraries print
import torch
loader, threads, file = sys.argv[1:]
torch.set_num_threads(int(threads))
run = torch.export.load(file).module() if loader == "export" else torch.jit.load(file)
given = torch.load(io.BytesIO(sys.stdin.buffer.read()), weights_only=True)
results = io.BytesIO()
torch.save([tuple(run(*inputs)) for inputs in given], results)
with open(answer, "wb") as pipe:
    pipe.write(results.getbuffer())
"""


def run_fresh(
    loader: str,
    path: Path,
    samples: Sequence[Mapping[str, Tensor]],
    inputs: Sequence[str],
    outputs: Sequence[str],
) -> list[Mapping[str, Tensor]]:
    """The outputs of the file at `path` for each sample, computed where camport cannot be imported.

    Args:
        loader: "export" for `torch.export.load`, "jit" for `torch.jit.load`.
        path: the file. Values are handed over by pipes, and nothing else is written.
        samples: inputs by name.
        inputs: their names in the file's order.
        outputs: the names of what the file returns, in order.

    Raises:
        ExportError: with the last line of what the process said, if it failed.
    """
    given = io.BytesIO()
    torch.save([tuple(sample[name] for name in inputs) for sample in samples], given)
    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "ignore",
            "-c",
            _CODE,
            loader,
            str(torch.get_num_threads()),
            str(path.resolve()),
        ],
        input=given.getvalue(),
        capture_output=True,
        check=False,
    )
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines() or [
            f"exit status {done.returncode}"
        ]
        raise ExportError(
            f"the file was written but does not run in a fresh process: {said[-1][:300]}"
        )
    results = torch.load(io.BytesIO(done.stdout), weights_only=True)
    return [dict(zip(outputs, values, strict=True)) for values in results]
