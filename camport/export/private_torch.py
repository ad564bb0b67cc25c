"""PyTorch's private entry points: why each, and what to do where a release lacks it.

No other file of this room names a private module of PyTorch; tests/test_structure.py looks.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
import torch._dynamo.config
import torch._dynamo.source
from torch._dispatch import python as _dispatch
from torch._subclasses import fake_tensor as _fake_tensor
from torch.fx.experimental import proxy_tensor as _proxy_tensor
from torch.fx.experimental import symbolic_shapes as _symbolic_shapes
from torch.utils import _python_dispatch, _pytree

make_fx = _proxy_tensor.make_fx
"""Records what autograd calls, which torch.export cannot see through.
If it goes: torch.export, once it takes `torch.autograd.grad`."""

disable_proxy_modes_tracing = _proxy_tensor.disable_proxy_modes_tracing
"""A loop's body is recorded apart from the graph around it.
If it goes: the body in a thread of its own."""

get_proxy_mode = _proxy_tensor.get_proxy_mode
"""The graph being recorded, whose new nodes are marked with the place of the call.
If it goes: failures name no line."""

FakeTensor = _fake_tensor.FakeTensor
"""A tensor without values, so that none becomes a constant. If it goes: meta tensors."""

FakeTensorMode = _fake_tensor.FakeTensorMode
"""Makes them, with symbols for sizes. If it goes: `torch.export.Dim` and meta tensors."""

DataDependentOutputException = _fake_tensor.DataDependentOutputException
"""What a model raises that reads values. If it goes: any error on fake tensors, by its text."""

GuardOnDataDependentSymNode = _symbolic_shapes.GuardOnDataDependentSymNode
"""What a model raises that branches on values. If it goes: likewise."""

ShapeEnv = _symbolic_shapes.ShapeEnv
"""The symbols of the free axes. If it goes: `torch.export.Dim`, and a graph of torch.export."""

DimDynamic = _symbolic_shapes.DimDynamic
"""Says that a symbol may not become a number. If it goes: `torch.export.Dim.DYNAMIC`."""

ConstantSource = torch._dynamo.source.ConstantSource
"""Where a symbol comes from, which it must say. If it goes: `ShapeEnv.create_unbacked_symint`."""

enable_python_dispatcher = _dispatch.enable_python_dispatcher
"""Operators compute sizes in Python, where the batch stays a symbol.
If it goes: nothing, once C++ keeps symbols."""

TorchDispatchMode = _python_dispatch.TorchDispatchMode
"""Sees each operator below autograd. Documented, though its module is not. If it moves: there."""

tree_leaves, tree_map, tree_map_only = _pytree.tree_leaves, _pytree.tree_map, _pytree.tree_map_only
"""Tensors in tuples, lists and dictionaries. If they go: `torch.utils._cxx_pytree` or `optree`."""

DOUBLE_BACKWARD = torch.ops.aten._convolution_double_backward.default
"""The gradient of a convolution's gradient."""

_COMPOSITE = torch._C.DispatchKey.CompositeImplicitAutograd

ADAPTIVE_AVERAGE: dict[Any, int] = {
    torch._C._nn.adaptive_avg_pool2d: 2,
    torch._C._nn.adaptive_avg_pool3d: 3,
}
"""What `nn.functional` calls, and its spatial axes.
If they go: a function mode sees `nn.functional`'s alone."""


@contextmanager
def double_backward(function: Callable[..., Any]) -> Iterator[None]:
    """While open, the Python dispatcher runs `function` for `DOUBLE_BACKWARD`.

    C++ asks there for sizes as numbers.

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
    """A signature of the placeholders, not make_fx's nested one. If it goes: a copied `Graph`."""
    graph.graph._codegen = torch.fx.graph.CodeGen()


def without_function_modes() -> AbstractContextManager[None]:
    """While open, a function mode hands calls on. If it goes: a flag of the mode's own."""
    return torch._C.DisableTorchFunctionSubclass()


def autograd_node() -> Any:
    """The node of autograd's graph whose backward runs, or None. If it goes:
    gradients have no place."""
    return torch._C._current_autograd_node()


def latest_number() -> int:
    """The number of autograd's latest node, as `node._sequence_nr()`. If it goes: likewise."""
    return int(torch._C._autograd._get_sequence_nr()) - 1


def without_fake_cache() -> AbstractContextManager[Any]:
    """While open, results on fake tensors are not kept for good. If it goes: nothing keeps them."""
    return torch._dynamo.config.patch(fake_tensor_cache_enabled=False)


def graph_sources() -> Any:
    """Where the source of each graph's code is kept. If it goes: look for what holds it instead."""
    return torch.fx.graph_module._loader


def operator_libraries() -> frozenset[str]:
    """The namespaces of all loaded operators. If it goes: what `sys.modules` has."""
    return frozenset(name.partition("::")[0] for name in torch._C._dispatch_get_all_op_names())


def onnx_registry() -> Any:
    """The class of torch.onnx's forms, built anew in every export. If it goes:
    exports take longer."""
    from torch.onnx._internal.exporter._registration import ONNXRegistry  # onnxscript comes with it

    return ONNXRegistry


def decomposed() -> Any:
    """What torch.export writes with others. If it goes: `torch.export.default_decompositions`."""
    from torch._decomp import core_aten_decompositions

    return core_aten_decompositions()
