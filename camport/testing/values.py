"""Options are values: an instance can be compared, printed,
and written into the metadata of an exported file."""

import dataclasses
import json
from typing import Any

from camport.core.adapter import Adapter
from camport.core.explainer import Explainer
from camport.core.metric import Metric
from camport.testing.conformance import Judge

TRAITS = {"family", "needs_gradients", "needs_layer", "exportable", "not_exportable_because"}
"""What an instance may say of itself other than its class, where that follows from its options."""


def check_values(judge: Judge, instance: Explainer | Adapter | Metric) -> None:
    """A frozen dataclass whose fields JSON can hold, or a class without any state."""
    params: Any = getattr(type(instance), "__dataclass_params__", None)
    if params is None:
        judge.demand(
            not vars(instance),
            f"an instance holds {', '.join(vars(instance))}; make the class a frozen dataclass with"
            " these fields",
        )
        return
    judge.demand(
        params.frozen, "it is a dataclass that is not frozen; write @dataclass(frozen=True)"
    )
    value: Any = instance
    again = dataclasses.replace(value)
    same = again == instance and hash(again) == hash(instance)
    judge.demand(same, f"two instances with equal options are not equal: {instance!r}, {again!r}")
    names = {field.name for field in dataclasses.fields(value)}
    extra = vars(instance).keys() - names - TRAITS
    judge.demand(
        not extra,
        f"an instance holds {', '.join(sorted(extra))}, which is no field; options are fields",
    )
    try:
        json.dumps(instance.options())
    except (TypeError, ValueError) as error:
        judge.fail(
            f"its options cannot be written as JSON into an exported file: {error}; use numbers,"
            " texts, lists"
        )


def check_texts(judge: Judge, cls: type, traits: tuple[str, ...]) -> None:
    """The traits that people read are there, and a name that a command line takes."""
    for trait in traits:
        text = getattr(cls, trait, None)
        judge.demand(
            isinstance(text, str) and bool(text.strip()),
            f"{trait} is {text!r}; declare it on the class as a text that is not empty",
        )
    name = getattr(cls, "name")  # noqa: B009 - the traits are declared on subclasses
    odd = sorted({c for c in name if not (c.isalnum() or c in "_+-.")})
    judge.demand(
        not odd and name == name.lower(), f"name {name!r} is not made of a-z, 0-9, _, +, - and ."
    )
