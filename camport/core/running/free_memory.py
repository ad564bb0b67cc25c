"""How much memory a process may still take: of the machine,
of its container and of its own limits."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

UNKNOWN = 2 << 30
"""Where no system tells."""


def free_bytes(device: torch.device, root: Path = Path("/")) -> int:
    """The memory of `device` that can be had; on a host what a cache holds counts,
    since it is given back.

    Args:
        device: a host or a CUDA device; of others nothing is known.
        root: where /proc and /sys are.
    """
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    if device.type != "cpu":
        return UNKNOWN
    known = [*_machine(root), *_containers(root), *_own_limit(root)]
    return max(0, min(known)) if known else UNKNOWN


def _machine(root: Path) -> Iterator[int]:
    """MemAvailable of /proc/meminfo: free pages and caches; elsewhere free pages alone."""
    found = _fields(root / "proc/meminfo").get("MemAvailable")
    if found is not None:
        yield found << 10
        return
    try:
        yield os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return


def _containers(root: Path) -> Iterator[int]:
    """What each control group around the process has left:
    its limit less what is used and not a file's cache."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        kinds, _, group = rest.partition(":")
        if number == "0" and not kinds:
            base, limit, used, cache = (
                "sys/fs/cgroup",
                "memory.max",
                "memory.current",
                "inactive_file",
            )
        elif "memory" in kinds.split(","):
            base, limit, used = (
                "sys/fs/cgroup/memory",
                "memory.limit_in_bytes",
                "memory.usage_in_bytes",
            )
            cache = "total_inactive_file"
        else:
            continue
        parts = [part for part in group.split("/") if part not in ("", "..")]
        # within a container its own group is mounted at the base, whatever its name outside is
        for depth in range(len(parts), -1, -1):
            folder = root.joinpath(base, *parts[:depth])
            most, now = _text(folder / limit).strip(), _text(folder / used).strip()
            if most.isdigit() and now.isdigit():
                yield int(most) - int(now) + _fields(folder / "memory.stat").get(cache, 0)


def _own_limit(root: Path) -> Iterator[int]:
    """The address space that `ulimit -v` leaves."""
    if sys.platform == "win32":
        return
    import resource

    most = resource.getrlimit(resource.RLIMIT_AS)[0]
    size = _text(root / "proc/self/statm").split()
    if most != resource.RLIM_INFINITY and size:
        yield most - int(size[0]) * os.sysconf("SC_PAGE_SIZE")


def _fields(path: Path) -> dict[str, int]:
    """Lines such as "MemAvailable:  123 kB"."""
    pairs = (line.replace(":", " ").split() for line in _text(path).splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) > 1 and pair[1].isdigit()}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
