"""The operators that camport imports, all families loaded, found by name and opset."""

# each family registers itself as it is imported
from camport.models.onnx import operators as operators
from camport.models.onnx import symbolic as symbolic
from camport.models.onnx.registry import SMALLS, TENSORS, Operator


def find(name: str, opset: int) -> Operator | None:
    """The operator as it stands at `opset`."""
    fitting = [known for known in TENSORS.get(name, ()) if known.since <= opset]
    return max(fitting, key=lambda known: known.since, default=None)


def find_small(name: str) -> Operator | None:
    """The operator on `Small` values."""
    return SMALLS.get(name)


def known() -> dict[str, list[int]]:
    """Every imported operator with the opsets at which its meaning changed."""
    return {name: sorted(op.since for op in found) for name, found in sorted(TENSORS.items())}
