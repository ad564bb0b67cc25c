"""Which function stands for which ATen operator when a captured graph is lowered."""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import torch

Rule = Callable[..., Any]
"""Takes the operator's arguments and records forward operators; NotImplemented leaves the operator
as it is."""

RULES: dict[Any, Rule] = {}

_UNLESS: dict[Any, Callable[..., bool]] = {}


def lowers(*operators: str, unless: Callable[..., bool] | None = None) -> Callable[[Rule], Rule]:
    """Registers the decorated rule for ATen overloads, `"relu.default"`, or others,
    `"camport::resize.default"`.

    Overloads that the installed PyTorch does not have are passed over: several versions are
    supported.

    Args:
        operators: what the rule stands for.
        unless: takes the operator's arguments and tells where the rule cannot; the operator is left
            as it is there.
    """

    def register(rule: Rule) -> Rule:
        for operator in operators:
            namespace, _, rest = operator.rpartition("::")
            name, overload = rest.split(".")
            found = getattr(
                getattr(getattr(torch.ops, namespace or "aten"), name, None), overload, None
            )
            if found is not None:
                RULES[found] = rule if unless is None else _except_where(unless, rule)
                if unless is not None:
                    _UNLESS[found] = unless
        return rule

    return register


def lowered(operator: Any, args: Sequence[Any]) -> bool:
    """Whether a rule writes `operator` with these positional arguments."""
    return operator in RULES and not (operator in _UNLESS and _UNLESS[operator](*args))


def _except_where(unless: Callable[..., bool], rule: Rule) -> Rule:
    @wraps(rule)
    def bounded(*args: Any, **kwargs: Any) -> Any:
        return NotImplemented if unless(*args, **kwargs) else rule(*args, **kwargs)

    return bounded
