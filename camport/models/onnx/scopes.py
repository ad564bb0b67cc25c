"""Which module of the original network a node came from:
both of PyTorch's exporters write it down."""

import ast
import re
from typing import Any

_KEY = "pkg.torch.onnx.name_scopes"


def scope_of(node: Any) -> str:
    """The dotted name of the module, e.g. "layer4.2.conv3"; empty where the file does not tell."""
    for entry in node.metadata_props:
        if entry.key == _KEY:
            try:
                scopes = ast.literal_eval(entry.value)
            except (ValueError, SyntaxError, MemoryError, RecursionError):
                return ""
            # the last entry is the operation itself
            names = (
                [s for s in scopes[:-1] if isinstance(s, str)] if isinstance(scopes, list) else []
            )
            return names[-1] if names else ""
    return _from_path(node.name)


def _from_path(name: str) -> str:
    """ "/layer4/layer4.2/conv3/Conv" as "layer4.2.conv3":
    a part that repeats the one before replaces it."""
    if not name.startswith("/"):
        return ""
    kept: list[str] = []
    for part in name.strip("/").split("/")[:-1]:
        if kept and part.startswith(kept[-1] + "."):
            kept.pop()
        kept.append(part)
    return ".".join(kept)


def enclosing(scope: str) -> list[str]:
    """The scope and all that lie around it, innermost first."""
    parts = scope.split(".") if scope else []
    return [".".join(parts[:n]) for n in range(len(parts), 0, -1)]


def repeated(scope: str) -> list[str]:
    """The module behind "layer4.2.relu_2", as the older exporter names the third run of
    layer4.2.relu.

    Only for modules without weights, which are used over and over; "conv_2" is a module of its own.
    """
    base = re.sub(r"_[0-9]+$", "", scope)
    return [base] if base != scope and not base.endswith(".") else []
