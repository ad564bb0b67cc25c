"""How many images go through a model at once: a rule of their size alone,
so that results are the same on every day."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor

from camport.core.maps.loop import traced
from camport.core.running.free_memory import free_bytes
from camport.errors import MemoryWarning, OutOfMemoryError, out_of_memory, reasons

LARGEST_CHUNK = 32
"""Beyond this many images in one pass nothing gets faster, on a CPU as a rule it gets slower."""

BYTES_A_PIXEL = 128 * 4
"""What the widest layers need a value of the image:
VGG's first block holds 2 x 64 maps a channel of it."""

HOST_BYTES, DEVICE_BYTES = 512 << 20, 3 << 30
"""What a chunk may need: a host that has less kills the process, and beyond 6 images of 3x224x224
its passes are no faster; a device raises an error, after which the chunk is halved."""


def chunk_for(images: Tensor) -> int:
    """Images in one pass. It does not depend on the free memory:
    sums of other chunks differ in their last bits."""
    # files have few, long turns
    most = HOST_BYTES if images.device.type == "cpu" and not traced() else DEVICE_BYTES
    return max(1, min(LARGEST_CHUNK, most // _bytes(images)))


def warn_if_short(images: Tensor, chunk: int) -> None:
    """Says that a chunk may not fit, where less memory is free than it needs at most."""
    free, needed = free_bytes(images.device), chunk * _bytes(images)
    if chunk > 1 and free < needed:
        warnings.warn(
            f"{chunk} images of {_shape(images)} at a time may need {needed >> 20} MB, and"
            f" {free >> 20} MB are free: give a smaller chunk, e.g."
            f" chunk={max(1, free * chunk // needed)}",
            MemoryWarning,
            stacklevel=2,
        )


def _advice(images: Tensor, chunk: int | None, error: BaseException) -> str:
    *_, error = reasons(error, handled=False)
    said = (str(error).strip().splitlines() or [""])[0][:200]
    free = f"{free_bytes(images.device) >> 20} MB of {images.device} are free"
    fewer = "fewer or smaller images at once" if len(images) > 1 else "smaller images"
    smaller = (
        ""
        if chunk == 1
        else ", or chunk=1 (--chunk 1), so that variants of an image run one by one"
    )
    return (
        f"out of memory with images {_shape(images)}, {free}: give {fewer}{smaller}"
        f" ({type(error).__name__}: {said})"
    )


@contextmanager
def within_memory(images: Tensor, chunk: int | None = None) -> Iterator[None]:
    """What finds no memory in here for images [b,c,H,W] raises an error that says what needs less.

    Raises:
        OutOfMemoryError: for an allocator's error, whatever it was wrapped in.
    """
    try:
        yield
    except OutOfMemoryError:
        raise
    except Exception as error:
        if out_of_memory(error):
            raise OutOfMemoryError(_advice(images, chunk, error)) from error
        raise


def _bytes(images: Tensor) -> int:
    return images[0].numel() * BYTES_A_PIXEL


def _shape(images: Tensor) -> str:
    return "x".join(map(str, images.shape[1:]))
