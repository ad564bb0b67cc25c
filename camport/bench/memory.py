"""Peak memory of a run beyond what its process held before, each in a process of its own.

On Linux the high-water mark of the resident set (`VmHWM`), reset before the run; elsewhere
`getrusage`'s, which cannot be reset, so that a peak below that of loading the model is not seen. On
CUDA what PyTorch has allocated at most.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from camport.bench.apart import apart
from camport.bench.plan import Entry
from camport.errors import CamportError

Run = Callable[[], Any]


@dataclass(frozen=True)
class Peak:
    """Bytes.

    Attributes:
        held: before the run.
        peak: at most, during it.
    """

    held: int
    peak: int

    @property
    def added(self) -> int:
        """What the run needed beyond what was held."""
        return max(0, self.peak - self.held)


def peak_of(prepare: Callable[..., Run], *arguments: object, device: str = "cpu") -> Peak:
    """Peak of a call of what `prepare(*arguments)` returns, in a spawned process.

    Args:
        prepare: at the top level of a module; makes what the run needs and is not counted.
        arguments: of `prepare`.
        device: "cpu" or "cuda".

    Raises:
        CamportError: the run failed, or died.
    """
    return apart(_peak, prepare, arguments, device)


def memory_of(entry: Entry, files: str, device: str, threads: int) -> tuple[Peak, Peak]:
    """The bare pass's and the explanation's, of a process that holds the network and the images.

    In PyTorch the second call counts, since the first one imports and copies what is then held. In
    ONNX Runtime it is the first one of an open session, whose arena keeps what it took.

    Raises:
        CamportError: the entry cannot be run, or the memory is not told.
    """
    if entry.engine == "exported" and device == "cuda":
        raise CamportError("ONNX Runtime does not tell what it allocates on a GPU")
    bare = peak_of(prepared, entry, files, device, threads, False, device=device)
    return bare, peak_of(prepared, entry, files, device, threads, True, device=device)


def prepared(entry: Entry, files: str, device: str, threads: int, explained: bool) -> Run:
    """The run of one side, in PyTorch after it has run once."""
    import torch

    from camport.bench.pairs import Pairs

    torch.set_num_threads(threads)
    pairs = Pairs(Path(files), device, threads)
    pair = pairs.pair(entry)
    run = pair.explained if explained else pair.bare
    if entry.engine != "exported":
        run()
    return run


def _peak(prepare: Callable[..., Run], arguments: tuple[object, ...], device: str) -> Peak:
    run = prepare(*arguments)
    gc.collect()
    if device == "cuda":
        import torch

        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        held = torch.cuda.memory_allocated()
        run()
        torch.cuda.synchronize()
        return Peak(held, torch.cuda.max_memory_allocated())
    _give_back()
    held = _reset()
    run()
    return Peak(held, _high_water())


def _give_back() -> None:
    """Freed memory that the C library keeps would be filled by the run unseen."""
    with contextlib.suppress(OSError, AttributeError, TypeError):  # glibc's alone
        ctypes.CDLL(None).malloc_trim(0)


def _reset() -> int:
    """Bytes held, after which the high-water mark begins anew where the system can do that."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return _high_water()


def _high_water() -> int:
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024
    try:
        import resource
    except ImportError:
        raise CamportError(
            "the peak memory of a process is read on Linux and macOS alone"
        ) from None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
