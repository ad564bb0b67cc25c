"""The class of a node is named after its operator: `Conv`, `MaxPool`.
The classes are made when asked for."""

from typing import Any

from camport.models.onnx.catalogue import known
from camport.models.onnx.node import Node

_KINDS: dict[str, type[Node]] = {}

# fmt: off
_MOVING = frozenset([
    "MaxPool", "AveragePool", "LpPool", "GlobalAveragePool", "GlobalMaxPool", "Transpose",
    "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Slice", "Split", "Gather", "GatherND",
    "GatherElements", "Expand", "Tile", "Pad", "Cast", "DepthToSpace", "SpaceToDepth", "Resize",
    "Upsample", "Softmax",
])
# fmt: on
"""What only moves features about, or is no feature: attention's softmax."""


def kind(op: str) -> type[Node]:
    """The class for nodes of an operator."""
    if op not in _KINDS:
        members = {
            "__module__": __name__,
            "__doc__": f"A node of ONNX's {op}.",
            "moves_features": op in _MOVING,
        }
        _KINDS[op] = type(op, (Node,), members)
    return _KINDS[op]


def __getattr__(name: str) -> Any:
    # so that a pickled model finds its classes again
    if name[:1].isupper() and name in known():
        return kind(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
