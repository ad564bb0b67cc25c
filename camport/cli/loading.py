"""A model of a SPEC, with what the user says about its labels, pictures and inputs."""

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from camport.cli.options import Labels
from camport.cli.printing import say
from camport.errors import InputError, MissingDependencyError, guarded
from camport.runtime.metadata import LONGEST
from camport.runtime.regular_file import check_regular, read_text

if TYPE_CHECKING:
    from camport.models import Loaded


def load(
    spec: str,
    weights: str | None,
    labels: Labels,
    preprocess: str | None,
    trust_checkpoint: bool = False,
    inputs: Sequence[str] | None = None,
) -> "Loaded":
    """The model of SPEC with what the user says about its labels and images."""
    import dataclasses
    import json

    from camport.runtime import Preprocess

    try:
        from camport.models import load_model
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f'{error.name} is needed for this: pip install "camport[torch]"'
        ) from error
    if os.getcwd() not in sys.path:
        # a console script does not see modules that lie where it is called, as `python -m` does
        sys.path.insert(0, os.getcwd())
    loaded = load_model(
        spec, weights, trust_checkpoint=trust_checkpoint, inputs=_values(inputs or ())
    )
    if preprocess is not None:
        stated, channels = Preprocess.from_json(preprocess), loaded.preprocess.channels
        if not {"mean", "std"} & set(json.loads(preprocess)):
            stated = stated.with_channels(channels)
        elif spec.lower().endswith(".onnx") and stated.channels != channels:
            raise InputError(
                f"--preprocess has {stated.channels} means, and {spec} takes {channels} channels"
            )
        loaded = dataclasses.replace(loaded, preprocess=stated, guessed=False)
    if loaded.guessed:
        guess = (
            f"{spec} does not say how it wants its pictures; pixels / 255 is a guess: tell by"
            " --preprocess JSON"
        )
        loaded = dataclasses.replace(loaded, notes=(*loaded.notes, guess))
    for note in loaded.notes:
        say(f"camport: note: {note}", err=True)
    if labels is not None:
        loaded = dataclasses.replace(loaded, labels=_read_labels(labels))
    return loaded


def place(loaded: "Loaded", device: str) -> "Loaded":
    """The model on a device.

    Raises:
        InputError: no such device here.
    """
    import dataclasses

    import torch

    try:
        return dataclasses.replace(loaded, model=loaded.model.to(torch.device(device)))
    except Exception as error:  # each device has errors of its own, a missing module among them
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        there = ["cpu", *(["cuda"] * torch.cuda.is_available())]
        there += ["mps"] * torch.backends.mps.is_available()
        raise InputError(
            f"--device {device}: {reason}; here there is: {', '.join(there)}"
        ) from None


def _values(inputs: Sequence[str]) -> dict[str, np.ndarray]:
    """NAME=VALUES: numbers with commas between them, or an array in a .npy file."""
    found = {}
    for text in inputs:
        name, equals, value = text.partition("=")
        with guarded(f"--input {text}", remedy="write NAME=NUMBER,NUMBER,... or NAME=FILE.npy"):
            if not equals or not name:
                raise ValueError("no NAME=VALUES")
            if value.endswith(".npy"):
                found[name] = np.load(check_regular(value, f"--input {name}="), allow_pickle=False)
            else:
                found[name] = np.array([float(v) for v in value.split(",")])
    return found


def _read_labels(path: Labels) -> tuple[str, ...]:
    assert path is not None
    lines = read_text(path, "labels").splitlines()
    return tuple(line.strip()[:LONGEST] for line in lines if line.strip())
