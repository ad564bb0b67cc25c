"""Inputs and outputs bound to the memory of the session's device: each input goes there once,
each output back once.

Given plain arrays, the engine copies a device's outputs into its own host memory and from there
into numpy's, and an image that is explained for ten classes travels ten times. On the CPU nothing
is copied at all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from camport.runtime.providers import NEEDS_CUDA
from camport.runtime.session import import_engine

BoundValue = Any
"""An onnxruntime.OrtValue: a tensor in the memory of a device."""


@dataclass(frozen=True)
class Device:
    """Where a session's inputs and outputs live.

    Args:
        kind: the engine's word for the memory, "cpu" or "cuda".
        index: which one of several devices.
    """

    kind: str = "cpu"
    index: int = 0

    @classmethod
    def of(cls, session: Any) -> "Device":
        """CUDA memory where the first provider computes there, otherwise the host's.

        The engine moves tensors between the host and any other accelerator by itself.
        """
        first = session.get_providers()[0]
        if first not in NEEDS_CUDA:
            return cls()
        return cls("cuda", int(session.get_provider_options().get(first, {}).get("device_id", 0)))


def place(array: np.ndarray, device: Device) -> BoundValue:
    """`array` in the device's memory. On the host it is the same memory:
    leave the array as it is while it is used."""
    return import_engine().OrtValue.ortvalue_from_numpy(array, device.kind, device.index)


def run_bound(
    session: Any, device: Device, inputs: Mapping[str, BoundValue], outputs: Sequence[str]
) -> dict[str, np.ndarray]:
    """Runs the graph on inputs that are placed; only what `outputs` names comes back,
    in that order.

    The binding lives for this run alone, so threads may share the session and the placed inputs.
    """
    binding = session.io_binding()
    for name, value in inputs.items():
        binding.bind_ortvalue_input(name, value)
    for name in outputs:
        binding.bind_output(name, device.kind, device.index)
    binding.synchronize_inputs()  # the device's own streams do not wait for the copies
    session.run_with_iobinding(binding)
    binding.synchronize_outputs()
    return {name: value.numpy() for name, value in zip(outputs, binding.get_outputs(), strict=True)}
