"""PyTorch's private entry points, all that export uses: why each, and what to do where a release lacks it.

No other file of this room names a private module of PyTorch; tests/test_structure.py looks.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
import torch._dynamo.config

# Operators compute sizes in Python, where the batch stays a symbol. If it goes: nothing, once C++ keeps symbols.
from torch._dispatch.python import enable_python_dispatcher as enable_python_dispatcher

# Where a symbol comes from, which it must say. If it goes: `ShapeEnv.create_unbacked_symint`.
from torch._dynamo.source import ConstantSource as ConstantSource

# What a model raises that reads values. If it goes: any error of a run on fake tensors, by its text.
from torch._subclasses.fake_tensor import DataDependentOutputException as DataDependentOutputException

# Tensors without values, so that none becomes a constant. If they go: `torch.export.Dim` and meta tensors.
from torch._subclasses.fake_tensor import FakeTensor as FakeTensor
from torch._subclasses.fake_tensor import FakeTensorMode as FakeTensorMode

# A loop's body is recorded apart from the graph around it. If it goes: the body in a thread of its own.
from torch.fx.experimental.proxy_tensor import disable_proxy_modes_tracing as disable_proxy_modes_tracing

# The nodes that a call has recorded, so that each knows where it was called. If it goes: failures name no line.
from torch.fx.experimental.proxy_tensor import get_proxy_mode as get_proxy_mode

# Records what autograd calls, which torch.export cannot see through. If it goes: torch.export, once it takes
# `torch.autograd.grad`.
from torch.fx.experimental.proxy_tensor import make_fx as make_fx

# A symbol that may not become a number. If it goes: `torch.export.Dim.DYNAMIC`, which names no symbol itself.
from torch.fx.experimental.symbolic_shapes import DimDynamic as DimDynamic

# What a model raises that branches on values. If it goes: any error of a run on fake tensors, by its text.
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode as GuardOnDataDependentSymNode

# The symbols of the free axes. If it goes: `torch.export.Dim`, and a graph of torch.export.
from torch.fx.experimental.symbolic_shapes import ShapeEnv as ShapeEnv

# Sees each operator below autograd. Documented, though its module is not. If it moves: from there.
from torch.utils._python_dispatch import TorchDispatchMode as TorchDispatchMode

# Tensors in tuples, lists and dictionaries. If they go: `torch.utils._cxx_pytree` or `optree`.
from torch.utils._pytree import tree_leaves as tree_leaves
from torch.utils._pytree import tree_map as tree_map
from torch.utils._pytree import tree_map_only as tree_map_only

DOUBLE_BACKWARD = torch.ops.aten._convolution_double_backward.default
"""The gradient of a convolution's gradient."""

_COMPOSITE = torch._C.DispatchKey.CompositeImplicitAutograd

ADAPTIVE_AVERAGE: dict[Any, int] = {torch._C._nn.adaptive_avg_pool2d: 2, torch._C._nn.adaptive_avg_pool3d: 3}
"""What `nn.functional` calls, and its spatial axes. If they go: a function mode sees `nn.functional`'s alone."""


@contextmanager
def double_backward(function: Callable[..., Any]) -> Iterator[None]:
    """While open, the Python dispatcher runs `function` for `DOUBLE_BACKWARD`: C++ asks there for sizes as numbers.

    If its tables go: `torch.library.impl` with a dispatch key, which stays in force afterwards.
    """
    kernels = DOUBLE_BACKWARD.py_kernels
    before = kernels.get(_COMPOSITE)
    kernels[_COMPOSITE] = function
    DOUBLE_BACKWARD._dispatch_cache.clear()
    try:
        yield
    finally:
        if before is None:
            del kernels[_COMPOSITE]
        else:
            kernels[_COMPOSITE] = before
        DOUBLE_BACKWARD._dispatch_cache.clear()


def original_double_backward(*args: Any) -> Any:
    """What PyTorch itself does for `DOUBLE_BACKWARD`."""
    return DOUBLE_BACKWARD._op_dk(_COMPOSITE, *args)


def plain_signature(graph: torch.fx.GraphModule) -> None:
    """A signature of the placeholders, instead of make_fx's nested one. If it goes: `torch.fx.Graph` copied anew."""
    graph.graph._codegen = torch.fx.graph.CodeGen()


def without_function_modes() -> AbstractContextManager[None]:
    """While open, a function mode hands calls on. If it goes: a flag of the mode's own."""
    return torch._C.DisableTorchFunctionSubclass()


def autograd_node() -> Any:
    """The node of autograd's graph whose backward runs; None in a forward pass. If it goes: gradients have no place."""
    return torch._C._current_autograd_node()


def latest_number() -> int:
    """The number of the node of autograd's graph that was made last; `node._sequence_nr()` is that of a node."""
    return int(torch._C._autograd._get_sequence_nr()) - 1


def without_fake_cache() -> AbstractContextManager[Any]:
    """While open, results on fake tensors are not kept for the process's life. If it goes: they are not kept."""
    return torch._dynamo.config.patch(fake_tensor_cache_enabled=False)


def graph_sources() -> Any:
    """Where the source of each graph's code is kept for tracebacks. If it goes: look for what holds it instead."""
    return torch.fx.graph_module._loader


def operator_libraries() -> frozenset[str]:
    """The namespaces of all loaded operators. If it goes: whether torchvision is among `sys.modules`."""
    return frozenset(name.partition("::")[0] for name in torch._C._dispatch_get_all_op_names())


def onnx_registry() -> Any:
    """The class of torch.onnx's forms of operators, built anew in every export. If it goes: exports take longer."""
    from torch.onnx._internal.exporter._registration import ONNXRegistry  # onnxscript comes with it

    return ONNXRegistry


def decomposed() -> Any:
    """The operators that torch.export writes with others. If it goes: `torch.export.default_decompositions`."""
    from torch._decomp import core_aten_decompositions

    return core_aten_decompositions()
