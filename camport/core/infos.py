"""What is told of a method, an adapter, a metric and a plugin that are registered."""

from __future__ import annotations

from dataclasses import dataclass

from camport.targets import Field


@dataclass(frozen=True)
class MethodInfo:
    """What `camport.methods()` tells of a method; the fields are the traits of its class."""

    name: str
    title: str
    paper: str
    family: str
    needs_gradients: bool
    exportable: bool
    distribution: str


@dataclass(frozen=True)
class AdapterInfo:
    """What `camport.adapters()` tells of an adapter."""

    name: str
    title: str
    distribution: str
    fields: tuple[Field, ...] = ()


@dataclass(frozen=True)
class MetricInfo:
    """What `camport.metrics()` tells of a metric; the fields are the traits of its class,
    `needs` in their order."""

    name: str
    title: str
    paper: str
    needs: tuple[str, ...]
    better: str
    range: tuple[float, float]
    unit: str
    distribution: str


@dataclass(frozen=True)
class PluginInfo:
    """One line of `camport plugins`: who it is, what it adds, and what went wrong,
    if anything did."""

    name: str
    distribution: str
    version: str
    adds: tuple[str, ...]
    state: str
