"""Inputs beside the images: given once, and part of the model from then on."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from camport.errors import InputError, UnknownNameError
from camport.models.onnx.file import FileNode, OnnxFile, Port
from camport.models.onnx.types import torch_dtype

MOST = 8
"""Numbers that a message writes out."""


def fixed(file: OnnxFile, given: Mapping[str, Any], image: str | None = None) -> OnnxFile:
    """The file with some inputs given, so that the images are what it still takes.

    A value without the first axis, or with one row in it, holds for every image where that axis is
    the batch: a free one, or of the size that the images' first axis has.

    Args:
        file: with several inputs.
        given: values by input name: numbers, lists, arrays or tensors, converted to the input's
            type.
        image: name of the input that takes the images; None: the one that is not given.

    Raises:
        UnknownNameError: an input that the file does not have.
        InputError: a value that does not fit its input, or that is the images'.
    """
    names = [port.name for port in file.inputs]
    for name in (*given, *([image] if image is not None else [])):
        if name not in names:
            raise UnknownNameError(f"input of {file.path.name}", name, names)
    if image in given:
        raise InputError(
            f"{file.path.name}: {image!r} is the images' input, and a value is given for it"
        )
    left = [port for port in file.inputs if port.name not in given]
    if image is not None and len(left) > 1:
        raise InputError(several(file.path.name, left, 1, image))
    if not given:
        return file
    if not left:
        raise InputError(
            f"{file.path.name}: values are given for all of its inputs; leave the images' out"
        )
    constants, nodes = dict(file.constants), []
    for port in file.inputs:
        if port.name in given:
            value = _value(file, port, given[port.name])
            if _is_batch(port, left[0]) and value.shape[0] == 1:
                constants[f"{port.name}:one"] = value
                nodes += _rows(port, left[0])
            else:
                constants[port.name] = value
    return replace(file, nodes=[*nodes, *file.nodes], inputs=left, constants=constants)


def several(name: str, ports: Sequence[Port], count: int, image: str | None = None) -> str:
    """That a file takes more than the images, and how to give the rest."""
    images = image or next(
        (p.name for p in ports if len(p.sizes) == 4), ports[0].name if ports else ""
    )
    rest = [port for port in ports if port.name != images]
    if not rest:
        return f"{name} takes {len(ports)} inputs, {count} were given"
    few = all(_count(port) <= MOST for port in rest)
    options = " ".join(
        f"--input {p.name}={','.join(['1'] * _count(p)) if few else 'FILE.npy'}" for p in rest
    )
    python = ", ".join(
        f"{p.name!r}: {([1] * _count(p) if _count(p) > 1 else 1) if few else 'array'}" for p in rest
    )
    shapes = " and ".join(f"{p.name} is {_shape(p)}" for p in rest)
    return (
        f"{name} takes {len(ports)} inputs ({', '.join(p.name for p in ports)}), {count} were"
        f" given. {shapes}: give a value once, e.g. {options}, in Python load_model(...,"
        f" inputs={{{python}}})"
    )


def _value(file: OnnxFile, port: Port, given: Any) -> Tensor:
    """A value as a tensor of the input's type and rank."""
    where = f"{file.path.name}: input {port.name!r} is {_shape(port)}"
    try:
        array = np.asarray(given.detach().cpu() if isinstance(given, Tensor) else given)
        value = (
            torch.from_numpy(np.ascontiguousarray(array))
            .reshape(array.shape)
            .to(torch_dtype(port.type))
        )
    except (TypeError, ValueError):
        raise InputError(f"{where}, and {given!r} is no array of numbers") from None
    rank = len(port.sizes)
    if value.dim() == rank - 1:
        value = value[None]
    elif rank and value.numel() == _count(port) and (value.dim() <= 1 or value.numel() == 1):
        value = value.reshape([1, *(n or 1 for n in port.sizes[1:])])
    if value.dim() != rank or any(
        n not in (None, m) for n, m in zip(port.sizes[1:], value.shape[1:], strict=True)
    ):
        raise InputError(f"{where}, and the value given has shape {list(array.shape)}")
    return value


def _is_batch(port: Port, images: Port) -> bool:
    """Whether an input has a row for each image."""
    if not port.sizes or not images.sizes:
        return False
    return port.sizes[0] is None or (len(port.sizes) > 1 and port.sizes[0] == images.sizes[0])


def _rows(port: Port, images: Port) -> list[FileNode]:
    """Nodes that repeat one row as often as there are images."""
    shape, rows = f"{port.name}:shape", f"{port.name}:rows"
    tail = [1] * (len(port.sizes) - 1)
    return [
        FileNode("Shape", "", (images.name,), (shape,), {"start": 0, "end": 1}),
        FileNode("Constant", "", (), (f"{port.name}:tail",), {"value_ints": tail}),
        FileNode("Concat", "", (shape, f"{port.name}:tail"), (rows,), {"axis": 0}),
        FileNode("Expand", "", (f"{port.name}:one", rows), (port.name,), {}),
    ]


def _count(port: Port) -> int:
    """How many numbers one row has, sizes that are free counted as 1."""
    sizes = port.sizes[1:] if len(port.sizes) > 1 else ()
    return int(np.prod([n or 1 for n in sizes], dtype=int))


def _shape(port: Port) -> str:
    return "[" + ", ".join("?" if n is None else str(n) for n in port.sizes) + "]"
