"""Half precision to float32: the same numbers,
held and computed in a type that every method and file can use."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from camport.models.onnx.file import FileNode, OnnxFile, Port

HALF = {10: "float16", 16: "bfloat16"}
"""ONNX's type numbers of half precision."""

FLOAT = 1
NAMING = ("to", "dtype", "output_dtype", "precision", "stash_type", "softmax_precision")
"""Attributes that name a type by its number: of Cast, EyeLike, DequantizeLinear and others."""


def half_type(file: OnnxFile) -> str | None:
    """The half precision that a file holds or computes in; None where it has none."""
    stored = {t.dtype for t in file.constants.values()}
    stored.update(
        v.dtype for node in file.nodes for v in node.attributes.values() if isinstance(v, Tensor)
    )
    named = {port.type for port in file.inputs}
    named.update(node.attributes[k] for node in file.nodes for k in NAMING if _names_half(node, k))
    for number, word in HALF.items():
        if number in named or getattr(torch, word) in stored:
            return word
    return None


def widened(file: OnnxFile) -> OnnxFile:
    """The file in float32: its tensors, its inputs, and what its nodes cast to or make.

    Half precision rounds after each node; what comes out differs from the file's own numbers by
    that rounding.
    """
    return replace(
        file,
        nodes=[_node(node) for node in file.nodes],
        inputs=[Port(p.name, FLOAT if p.type in HALF else p.type, p.sizes) for p in file.inputs],
        constants={name: _float(tensor) for name, tensor in file.constants.items()},
    )


def _node(node: FileNode) -> FileNode:
    attributes = {
        k: FLOAT if _names_half(node, k) else _float(v) for k, v in node.attributes.items()
    }
    return replace(node, attributes=attributes)


def _names_half(node: FileNode, key: str) -> bool:
    return key in NAMING and node.attributes.get(key) in HALF


def _float(value: Any) -> Any:
    half = isinstance(value, Tensor) and value.dtype in (torch.float16, torch.bfloat16)
    return value.float() if half else value
