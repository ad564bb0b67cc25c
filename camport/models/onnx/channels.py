"""Where a file has the channels of its images, and how many: by what first reads them,
else by the sizes."""

from dataclasses import dataclass

from torch import Tensor

from camport.models.onnx.file import FileNode, OnnxFile

# fmt: off
PASSING = frozenset([
    "Identity", "Cast", "Add", "Sub", "Mul", "Div", "Clip", "QuantizeLinear", "DequantizeLinear",
    "Pad",
])
# fmt: on
"""What may stand between the images and the first layer, and leaves their axes in place."""

FEWEST = 16
"""Sides below this are no image's, where sizes alone have to tell."""


@dataclass(frozen=True)
class Channels:
    """Of a file's images.

    Attributes:
        last: the file takes [b,H,W,c].
        count: how many; None where nothing tells.
    """

    last: bool
    count: int | None


def channels_of(file: OnnxFile) -> Channels:
    """The channels of the first input, where it is of rank 4."""
    port = file.inputs[0] if file.inputs else None
    if port is None or len(port.sizes) != 4:
        return Channels(False, None)
    found = _from_nodes(file, port.name, port.sizes)
    if found is None:
        sides = port.sizes[1:3]
        found = Channels(
            port.sizes[3] in (1, 3) and all(n is None or n >= FEWEST for n in sides), None
        )
    count = port.sizes[3 if found.last else 1]
    return Channels(found.last, count or found.count)


def _from_nodes(file: OnnxFile, name: str, sizes: tuple[int | None, ...]) -> Channels | None:
    """What the first layer says that reads the images; None where it says nothing."""
    readers: dict[str, list[FileNode]] = {}
    for node in file.nodes:
        for taken in node.inputs:
            readers.setdefault(taken, []).append(node)
    makers = {output: node for node in file.nodes for output in node.outputs}
    queue, seen = [name], {name}
    while queue:
        value = queue.pop(0)
        for node in readers.get(value, ()):
            if node.inputs[0] != value and node.op not in PASSING:
                continue
            found = _says(node, file, makers, sizes)
            if found is not None:
                return found
            if node.op in PASSING and node.outputs[0] not in seen:
                seen.add(node.outputs[0])
                queue.append(node.outputs[0])
            elif node.op == "Transpose" and list(node.attributes.get("perm", ())) == [0, 3, 1, 2]:
                behind = _from_nodes(file, node.outputs[0], sizes)
                return Channels(True, behind.count if behind else None)
    return None


def _says(
    node: FileNode, file: OnnxFile, makers: dict[str, FileNode], sizes: tuple[int | None, ...]
) -> Channels | None:
    if node.op == "Conv":
        weight = _weight(node.inputs[1], file, makers)
        return (
            None
            if weight is None
            else Channels(False, weight.shape[1] * node.attributes.get("group", 1))
        )
    if node.op == "BatchNormalization" and node.inputs[1] in file.constants:
        return Channels(False, file.constants[node.inputs[1]].numel())
    if node.op == "Reshape" and sizes[3] == 1 and len(node.inputs) > 1:
        # with one channel, converters write the transposition as a change of shape
        shape = _weight(node.inputs[1], file, makers)
        if shape is not None and shape.numel() == 4 and int(shape[1]) == 1:
            return Channels(True, 1)
    return None


def _weight(name: str, file: OnnxFile, makers: dict[str, FileNode]) -> Tensor | None:
    """A stored tensor, behind its dequantisation where it is quantised."""
    while name not in file.constants:
        node = makers.get(name)
        if node is None or node.op not in (
            "DequantizeLinear",
            "QuantizeLinear",
            "Identity",
            "Cast",
            "Constant",
        ):
            return None
        if node.op == "Constant":
            value = node.attributes.get("value")
            return value if isinstance(value, Tensor) else None
        name = node.inputs[0]
    return file.constants[name]
