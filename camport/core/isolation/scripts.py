"""Modules of torch.jit in a double: shared where they are only read,
copied where they would write into themselves."""

import copy
import re
from typing import Any

from torch import nn
from torch.jit._trace import TopLevelTracedModule
from torch.utils.weak import WeakIdKeyDictionary

_ATTRIBUTE = re.compile(r"%([\w.]+) : Tensor = prim::GetAttr")
_WRITTEN = re.compile(r"aten::\w+_\(%([\w.]+)")

_alters: Any = WeakIdKeyDictionary()


def double_of_script(module: nn.Module) -> nn.Module:
    """A copy in evaluation mode of a script that writes into its tensors as it runs;
    any other itself.

    A copy costs memory, and PyTorch optimises it anew. A frozen script has no mode: it is in
    evaluation mode for good.
    """
    if any(
        getattr(part, "training", False) for part in module.modules()
    ) or _was_traced_in_training(module):
        return copy.deepcopy(module).eval()
    return module


def _was_traced_in_training(module: nn.Module) -> bool:
    """Whether a traced module writes into its own tensors, in whatever mode it is now."""
    if not isinstance(module, TopLevelTracedModule):
        return False
    if module not in _alters:
        graph = str(module.inlined_graph)
        _alters[module] = not set(_ATTRIBUTE.findall(graph)).isdisjoint(_WRITTEN.findall(graph))
    return bool(_alters[module])
