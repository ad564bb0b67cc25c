"""From what a user passes to what the engine takes: conversion, broadcasting,
and checks that say the remedy.

The engine's own complaint about a wrong input is a page; about NaN, a swapped channel axis or bytes
that were never scaled it says nothing at all and returns a plausible map.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL.Image import Image

from camport.errors import InputError, UnknownNameError
from camport.runtime.ports import Port, shape_of
from camport.targets.labels import class_index

CLASS_INPUTS = ("target", "class_ids")
"""Inputs that name classes: -1, the model's own choice, where they are left out,
and texts are looked up."""

_PREPARE = "explainer.preprocess.apply(image)"


def build_feeds(
    ports: Sequence[Port],
    values: Mapping[str, Any],
    labels: tuple[str, ...] | None = None,
    classes: int | None = None,
    sizes: dict[str, tuple[int, str]] | None = None,
    named: Mapping[str, int | None] | None = None,
) -> dict[str, np.ndarray]:
    """The arrays the graph takes, by input name.

    A value without the batch axis holds for every image, or for every target of a single image: an
    int for `target` [b], one box [4] for `boxes` [b,4]. Classes that are left out are -1. Floats
    are cast to the graph's precision, integers to its width.

    Args:
        ports: the graph's inputs, the one that sets the batch size first.
        values: what was passed; None counts as left out.
        labels: class names by index, where known.
        classes: number of classes `target` or `class_ids` may name, where known.
        sizes: what the dynamic axes' names are bound to, as (size, input that set it); filled in.
            Inputs that are fed in parts share one.
        named: further inputs that name classes, each with how many there are, where known.

    Raises:
        UnknownNameError: an input the graph does not have, or an unknown class name.
        InputError: a value that is missing or of the wrong dtype, rank, size, count or range,
            or not finite.
    """
    names = [port.name for port in ports]
    for name in values:
        if name not in names:
            raise UnknownNameError("input", name, names)
    named = {} if named is None else named
    feeds: dict[str, np.ndarray] = {}
    sizes = {} if sizes is None else sizes
    for port in sorted(ports, key=lambda port: _lacks_batch(port, values.get(port.name))):
        value = values.get(port.name)
        if value is None and port.name not in CLASS_INPUTS:
            raise InputError(
                f"{port.name} is missing; the graph takes {', '.join(str(p) for p in ports)}"
            )
        names_classes = port.name in CLASS_INPUTS or port.name in named
        array = _to_array(port, -1 if value is None else value, labels, names_classes)
        array = _with_batch(port, array, sizes)
        _check_sizes(port, array, sizes)
        _check_finite(port, array)
        known = (
            classes if classes is not None or port.name == "target" or not labels else len(labels)
        )
        if names_classes and array.dtype.kind == "i":
            _check_classes(port.name, array, named.get(port.name, known))
        feeds[port.name] = np.ascontiguousarray(array)
    return feeds


def _lacks_batch(port: Port, value: Any) -> bool:
    """Whether a value stands for all rows, whose number the other inputs then tell."""
    try:
        return value is None or np.ndim(value) < len(port.shape)
    except Exception:  # a ragged list, a tensor that numpy does not take: refused for what it is
        return False


def _to_array(
    port: Port, value: Any, labels: tuple[str, ...] | None, names_classes: bool
) -> np.ndarray:
    """`value` as an array of the graph's dtype."""
    if names_classes:
        if isinstance(value, str):
            value = class_index(value, labels)
        elif isinstance(value, list | tuple):
            value = [class_index(item, labels) if isinstance(item, str) else item for item in value]
    if len(port.shape) == 4 and isinstance(value, str | os.PathLike | Image):
        what = "a picture" if isinstance(value, Image) else f"a path, {os.fspath(value)!r}"
        opened = "image" if isinstance(value, Image) else "open_image(path)"
        raise InputError(
            f"{port.name} is {what}; the graph takes {port}: pixels, placement ="
            f" explainer.preprocess.apply({opened}), then pixels[None]"
        )
    try:
        array = np.asarray(value)
    except Exception as error:  # ragged lists, and tensors that do not live on the CPU
        reason = str(error).splitlines()[0]
        raise InputError(
            f"{port.name} is a {type(value).__name__} that is no array: {reason}"
        ) from None
    kind = array.dtype.kind
    if port.is_float:
        is_picture = len(port.shape) == 4
        if is_picture and kind in "iub":
            raise InputError(
                f"{port.name} is {shape_of(array)}, unscaled pixels; the graph takes {port}: "
                f"use {_PREPARE}, or scale to [0,1] and normalise as the model was trained"
            )
        fits = kind in "fiu"
    elif port.is_pixels:
        fits = kind in "iu"
        if not fits or (array.size and not 0 <= array.min() <= array.max() <= 255):
            seen = (
                f" with values from {array.min():g} to {array.max():g}"
                if array.size and kind in "fiu"
                else ""
            )
            raise InputError(
                f"{port.name} is {shape_of(array)}{seen}; the graph takes {port} and prepares them"
                " itself: give it the pixels as they are, whole numbers from 0 to 255"
            )
    else:
        fits = kind == "b" if port.dtype == "bool" else kind in "iu"
    if not fits:
        raise InputError(f"{port.name} is {shape_of(array)}; the graph takes {port}")
    with np.errstate(over="ignore"):  # what overflows becomes infinite, which is reported as such
        return np.asarray(array, dtype=port.dtype)


def _with_batch(port: Port, array: np.ndarray, sizes: Mapping[str, tuple[int, str]]) -> np.ndarray:
    """`array` with the graph's rank, repeated for every image where only the batch axis is
    missing."""
    rank = len(port.shape)
    if array.ndim == rank - 1 and sizes:
        batch = (
            sizes[str(port.shape[0])][0]
            if str(port.shape[0]) in sizes
            else next(iter(sizes.values()))[0]
        )
        return np.broadcast_to(array, (batch, *array.shape))
    if array.ndim != rank:
        hint = ""
        if rank == 4 and array.ndim == 3:
            hint = f": give a batch, {port.name}[None] for one image"
            if port.is_float and array.shape[-1] in (3, 4) and array.shape[0] not in (1, 3):
                hint = (
                    f": channels come first and the batch before them; {_PREPARE}[0][None] does"
                    " both"
                )
        raise InputError(
            f"{port.name} is {shape_of(array)}, rank {array.ndim}; the graph takes {port}{hint}"
        )
    return array


def _check_sizes(port: Port, array: np.ndarray, sizes: dict[str, tuple[int, str]]) -> None:
    """Static axes have the graph's size, axes of one name one size;
    new names are noted in `sizes`."""
    if 0 in array.shape:
        raise InputError(
            f"{port.name} is {shape_of(array)}, an empty batch; give at least one image"
        )
    first = not sizes
    for axis, (given, wanted) in enumerate(zip(array.shape, port.shape, strict=True)):
        if isinstance(wanted, int):
            if given != wanted:
                hint = _size_hint(port, array, axis)
                raise InputError(f"{port.name} is {shape_of(array)}; the graph takes {port}{hint}")
        elif wanted in sizes and sizes[wanted][0] != given:
            size, other = sizes[wanted]
            if axis == 0:
                hint = f"{given} for {size} {other}: give one for all of them, or {size}"
            else:
                hint = f"axis {wanted} is {given}, but {size} in {other}"
            raise InputError(f"{port.name} is {shape_of(array)}, {hint}")
        elif wanted != "?":
            sizes[wanted] = (given, port.name)
    if first and not sizes:
        sizes["?"] = (array.shape[0], port.name)


def _size_hint(port: Port, array: np.ndarray, axis: int) -> str:
    if len(port.shape) == 4 and axis == 0:
        return ": one image at a time, with any number of targets" if port.shape[0] == 1 else ""
    if len(port.shape) != 4:
        return ""
    if port.is_pixels:
        hints = {
            1: "repeat the grey channel, images.repeat(3, axis=3)",
            4: "drop what is no colour, images[..., :3]",
        }
        first = (
            ": channels come last, images.transpose(0, 2, 3, 1)"
            if array.shape[1] == port.shape[3]
            else ""
        )
        return f": {hints[array.shape[3]]}" if array.shape[3] in hints else first
    if axis == 1:
        channels = port.shape[1]
        if array.shape[3] == channels:
            return ": channels come first, images.transpose(0, 3, 1, 2)"
        if array.shape[1] == 1:
            return f": repeat the grey channel, images.repeat({channels}, axis=1)"
        return f": it has {array.shape[1]} channels instead of {channels}"
    return f": resize to {port.shape[2]}x{port.shape[3]} (height x width), e.g. with {_PREPARE}"


def _check_finite(port: Port, array: np.ndarray) -> None:
    if array.dtype.kind != "f":
        return
    finite = np.isfinite(array)
    if finite.all():
        return
    bad = (~finite).reshape(len(array), -1).sum(axis=1)
    which = [f"{count} in image {i}" for i, count in enumerate(bad) if count]
    shown = ", ".join(which[:4]) + (f", and {len(which) - 4} more images" if len(which) > 4 else "")
    nans = int(np.isnan(array).sum())
    rest = int(bad.sum()) - nans
    raise InputError(
        f"{port.name} has values that are not finite: {shown} ({nans} NaN, {rest} infinite); "
        "look at how they were normalised"
    )


def _check_classes(name: str, array: np.ndarray, classes: int | None) -> None:
    there = (
        "classes are 0 and up"
        if classes is None
        else f"the graph has {classes} classes, 0 to {classes - 1}"
    )
    for i, value in enumerate(array.reshape(len(array), -1)):
        for index in value:
            if index < -1 or (classes is not None and index >= classes):
                raise InputError(
                    f"{name} {index} of image {i} is out of range: {there}, or -1 for the model's"
                    " own choice"
                )
