"""Running a file in a process of its own, by PyTorch alone: what its user will do."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from camport.errors import ExportError

_CODE = """
import sys
sys.modules["camport"] = None
import torch
loader, threads, file, given, results = sys.argv[1:]
torch.set_num_threads(int(threads))
run = torch.export.load(file).module() if loader == "export" else torch.jit.load(file)
torch.save([tuple(run(*inputs)) for inputs in torch.load(given)], results)
"""


def run_fresh(
    loader: str, path: Path, samples: Sequence[Mapping[str, Tensor]], inputs: Sequence[str], outputs: Sequence[str]
) -> list[Mapping[str, Tensor]]:
    """The outputs of the file at `path` for each sample, computed where camport cannot be imported.

    Args:
        loader: "export" for `torch.export.load`, "jit" for `torch.jit.load`.
        path: the file; its folder is where values are handed over.
        samples: inputs by name.
        inputs: their names in the file's order.
        outputs: the names of what the file returns, in order.

    Raises:
        ExportError: with the last line of what the process said, if it failed.
    """
    given, results = path.parent / "inputs.tmp", path.parent / "outputs.tmp"
    try:
        torch.save([tuple(sample[name] for name in inputs) for sample in samples], given)
        arguments = [loader, str(torch.get_num_threads()), str(path.resolve()), str(given.resolve())]
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", _CODE, *arguments, str(results.resolve())],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode:
            said = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
            raise ExportError(f"the file was written but does not run in a fresh process: {said[-1][:300]}")
        return [dict(zip(outputs, values, strict=True)) for values in torch.load(results)]
    finally:
        given.unlink(missing_ok=True)
        results.unlink(missing_ok=True)
