"""The target layer of a transformer that is only known as a graph.

The automatic choice knows modules called attention. A file has matrix products and a softmax
instead, which give [b,heads,n,n] that look like maps. So the choice a person would make is read
from the graph: the normalised tokens that enter the last attention, since behind it the patch
tokens of a class-token head have no gradient.
"""

from camport.models.onnx.file import FileNode, OnnxFile

_MOVES = (
    "Transpose",
    "Reshape",
    "Squeeze",
    "Unsqueeze",
    "Gather",
    "Slice",
    "Split",
    "Cast",
    "Flatten",
    "Identity",
)

_NORMALISES = ("LayerNormalization", "RMSNormalization", "BatchNormalization", "Add", "Mul")
"""How a normalisation ends, as one operator or written out."""


def token_layer(nodes: list[FileNode], file: OnnxFile) -> str | None:
    """The name of the tokens [b,n,c] that enter the last attention;
    None where the network does not end on tokens."""
    maker = {name: i for i, node in enumerate(nodes) for name in node.outputs if name}
    last = _last_attention(nodes, maker)
    if last is None or any(node.op == "Conv" for node in nodes[last:]):
        return None
    inputs = nodes[last].inputs[: 3 if nodes[last].op == "Attention" else 2]
    common = set.intersection(*(_ancestors(name, nodes, maker) for name in inputs))
    found = max(common, default=None)
    projected = False
    while found is not None:
        node = nodes[found]
        source = maker.get(node.inputs[0]) if node.inputs else None
        if node.op == "Add" and not projected:
            # the bias of a projection; the sum of a written-out normalisation has no product right
            # before it
            product = [
                maker[n]
                for n in node.inputs
                if n in maker and nodes[maker[n]].op in ("MatMul", "Gemm")
            ]
            if not product:
                break
            source = max(product)
        elif node.op in ("MatMul", "Gemm") and not projected:
            projected = True
            source = max((maker[n] for n in node.inputs if n in maker), default=None)
        elif node.op not in _MOVES:
            break
        found = source
    if found is None or nodes[found].op not in _NORMALISES:
        return None
    name = nodes[found].outputs[0]
    shape = file.shapes.get(name)
    return name if shape is None or len(shape) == 3 else None


_SCALES = ("Mul", "Div", "Sqrt", "Pow", "Add", "Where", "Cast", "Clip", "Dropout")
"""What stands between the product of queries and keys and its softmax: a scale, a mask."""


def inside_attention(nodes: list[FileNode]) -> set[str]:
    """Names of the values [b,heads,n,n] and [b,heads,n,c] within attention,
    which look like maps and are none."""
    maker = {name: node for node in nodes for name in node.outputs if name}
    found: set[str] = set()
    for node in nodes:
        weights = _softmax(node, maker)
        if weights is None:
            continue
        found.update((node.outputs[0], weights.outputs[0]))
        found |= _back(node.inputs[1], maker, (*_MOVES, "Mul", "Div"))
        scores = _back(weights.inputs[0], maker, (*_MOVES, *_SCALES))
        found |= scores
        products = (
            maker[name] for name in _sources(weights.inputs[0], scores, maker) if name in maker
        )
        for product in products:
            if product.op == "MatMul":
                found.add(product.outputs[0])
                for name in product.inputs:
                    found |= _back(name, maker, (*_MOVES, "Mul", "Div"))
    return found


def _softmax(node: FileNode, maker: dict[str, FileNode]) -> FileNode | None:
    """The softmax whose weights a product takes; None for any other node."""
    if node.op != "MatMul" or any(name not in maker for name in node.inputs):
        return None
    first = maker[node.inputs[0]]
    while first.op in ("Dropout", "Identity", "Cast", "Where") and first.inputs[-1] in maker:
        first = maker[first.inputs[0] if first.op != "Where" else first.inputs[-1]]
    return first if first.op == "Softmax" else None


def _back(name: str, maker: dict[str, FileNode], ops: tuple[str, ...]) -> set[str]:
    """The value and what it was made of, as long as only these operators made it."""
    found: set[str] = set()
    queue = [name]
    while queue:
        value = queue.pop()
        node = maker.get(value)
        if node is not None and node.op in ops and value not in found:
            found.add(value)
            queue.extend(node.inputs[:1] if node.op in _MOVES else node.inputs)
    return found


def _sources(name: str, passed: set[str], maker: dict[str, FileNode]) -> set[str]:
    """What the passed values were made of."""
    taken = {source for value in passed for source in maker[value].inputs}
    return (taken | {name}) - passed


def _last_attention(nodes: list[FileNode], maker: dict[str, int]) -> int | None:
    """The last product of a softmax with something that is computed from the image too."""
    for i in reversed(range(len(nodes))):
        node = nodes[i]
        if node.op == "Attention":
            return i
        if node.op == "MatMul" and all(name in maker for name in node.inputs):
            first = nodes[maker[node.inputs[0]]]
            if first.op in ("Dropout", "Identity", "Cast") and first.inputs[0] in maker:
                first = nodes[maker[first.inputs[0]]]
            if first.op == "Softmax":
                return i
    return None


def _ancestors(name: str, nodes: list[FileNode], maker: dict[str, int]) -> set[int]:
    """Every node on which a value depends."""
    found: set[int] = set()
    queue = [name]
    while queue:
        index = maker.get(queue.pop())
        if index is not None and index not in found:
            found.add(index)
            # what only moves data takes it from its first input; the others are sizes
            inputs = nodes[index].inputs[:1] if nodes[index].op in _MOVES else nodes[index].inputs
            queue.extend(n for n in inputs if n)
    return found
