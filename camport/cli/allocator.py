"""The C library's allocator keeps what is freed,
for a process that is this command and nothing else."""

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGEST_PARAMETER = (1 << 31) - 1


def keep_freed_memory() -> None:
    """With glibc, tensors are taken from memory that was freed before instead of fresh pages.

    Each of a network's large activations is mapped anew and given back otherwise, and its pages are
    filled with zeros by the kernel at every pass: a third of the time of a batch of eight, more
    than half of 32. Elsewhere nothing is done.
    """
    if sys.platform != "linux":
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return
    mallopt(M_MMAP_THRESHOLD, 1 << 30)
    mallopt(M_TRIM_THRESHOLD, LARGEST_PARAMETER)
