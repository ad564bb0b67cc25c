"""Leaves PyTorch's global random state as found, also where a model draws numbers while it is explained."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def random_state_kept(device: torch.device) -> Iterator[None]:
    """Restores the generators of the CPU and of `device` where they were used meanwhile."""
    cpu = torch.get_rng_state()
    cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    try:
        yield
    finally:
        if not torch.equal(torch.get_rng_state(), cpu):
            torch.set_rng_state(cpu)
        if cuda is not None and not torch.equal(torch.cuda.get_rng_state(device), cuda):
            torch.cuda.set_rng_state(cuda, device)
