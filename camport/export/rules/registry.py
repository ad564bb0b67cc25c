"""Which function stands for which ATen operator when a captured graph is lowered."""

from collections.abc import Callable
from typing import Any

import torch

Rule = Callable[..., Any]
"""Takes the operator's arguments and records forward operators; NotImplemented leaves the operator as it is."""

RULES: dict[Any, Rule] = {}


def lowers(*operators: str) -> Callable[[Rule], Rule]:
    """Registers the decorated rule for ATen overloads, `"relu.default"`, or others, `"camport::resize.default"`.

    Overloads that the installed PyTorch does not have are passed over: several versions are supported.
    """

    def register(rule: Rule) -> Rule:
        for operator in operators:
            namespace, _, rest = operator.rpartition("::")
            name, overload = rest.split(".")
            found = getattr(getattr(getattr(torch.ops, namespace or "aten"), name, None), overload, None)
            if found is not None:
                RULES[found] = rule
        return rule

    return register
