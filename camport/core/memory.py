"""How many images go through a model at once."""

import os

import torch
from torch import Tensor

LARGEST_CHUNK = 32
"""Beyond this many images in one pass nothing gets faster, on a CPU as a rule it gets slower."""

BYTES_A_PIXEL = 128 * 4
"""What the widest layers need a value of the image: VGG's first block holds 2 x 64 maps a channel of it."""


def chunk_for(images: Tensor) -> int:
    """Images in one pass, such that they need no more than half of the free memory."""
    per_image = images[0].numel() * BYTES_A_PIXEL
    return max(1, min(LARGEST_CHUNK, free_bytes(images.device) // 2 // per_image))


def free_bytes(device: torch.device) -> int:
    """The memory of `device` that nobody uses."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not every system tells
        return 2 << 30
