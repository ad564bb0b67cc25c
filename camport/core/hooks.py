"""The hooks a plugin may implement. They are called when things are composed,
never inside a forward pass.

A distribution names a module in the entry-point group `camport`; that module holds functions of
these names, each marked with `@camport.hookimpl`. What is built in comes through the same hooks.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from camport.core.markers import hookspec

if TYPE_CHECKING:
    from camport.core.adapter import Adapter
    from camport.core.explainer import Explainer
    from camport.core.metric import Metric
    from camport.core.model_family import ModelFamily


@hookspec
def camport_explainers() -> Iterable[type[Explainer]]:  # type: ignore[empty-body]
    """Returns the explainer classes to add; each has a `name` nobody else uses."""


@hookspec
def camport_adapters() -> Iterable[type[Adapter]]:  # type: ignore[empty-body]
    """Returns the adapter classes to add; each has a `name` nobody else uses."""


@hookspec
def camport_metrics() -> Iterable[type[Metric]]:  # type: ignore[empty-body]
    """Returns the metric classes to add; each has a `name` nobody else uses."""


@hookspec
def camport_models() -> Iterable[type[ModelFamily]]:  # type: ignore[empty-body]
    """Returns the families of models to add: `--model NAME:...` and
    `camport.models.load_model("NAME:...")`."""
