"""What is registered: explainers, adapters and metrics, built in and from plugins,
through one door."""

from __future__ import annotations

import inspect
import os
import re
import threading
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pluggy

from camport.core import hooks
from camport.core.infos import AdapterInfo, MethodInfo, MetricInfo, PluginInfo
from camport.core.markers import PROJECT
from camport.errors import (
    CamportError,
    MissingDependencyError,
    PluginError,
    PluginWarning,
    UnknownNameError,
    reason_of,
)

if TYPE_CHECKING:
    from camport.core.adapter import Adapter
    from camport.core.explainer import Explainer
    from camport.core.metric import Metric
    from camport.core.model_family import ModelFamily

KILL_SWITCH = "CAMPORT_DISABLE_PLUGINS"
BUILT_IN = ("camport.plugins", "camport.adapters", "camport.metrics", "camport.models.families")
HOOKS = {
    "camport_explainers": "explainer",
    "camport_adapters": "adapter",
    "camport_metrics": "metric",
    "camport_models": "model family",
}
_LOCK = threading.RLock()


@dataclass(frozen=True)
class _Owned:
    cls: Any
    plugin: str
    distribution: str


class Registry:
    """All classes by kind and name, collected from hooks once.

    Args:
        entry_points: those of the group `camport`; third-party plugins.
        disabled: value of the kill switch: "" none, "1" all, or plugin names separated by commas.
    """

    def __init__(self, entry_points: Iterable[metadata.EntryPoint], disabled: str = "") -> None:
        self.manager = pluggy.PluginManager(PROJECT)
        self.manager.add_hookspecs(hooks)
        self.classes: dict[str, dict[str, _Owned]] = {kind: {} for kind in HOOKS.values()}
        self.plugins: list[PluginInfo] = []
        for name in BUILT_IN:
            self._add(_import_built_in(name), name, "camport", _version("camport"))
        off = {part.strip() for part in disabled.split(",") if part.strip()}
        for point in sorted(entry_points, key=lambda p: p.name):
            dist, version = _owner(point)
            if disabled.strip() == "1" or point.name in off:
                self.plugins.append(
                    PluginInfo(point.name, dist, version, (), f"disabled by {KILL_SWITCH}")
                )
                continue
            try:
                self._add(point.load(), point.name, dist, version)
            except (Exception, SystemExit) as error:
                # a plugin may end the process when it is imported
                reason = str(error) if isinstance(error, CamportError) else reason_of(error)
                self.plugins.append(PluginInfo(point.name, dist, version, (), f"broken: {reason}"))
                warnings.warn(
                    f"plugin {point.name!r} of {dist} {version} was left out: {reason} "
                    f"(uninstall it, or set {KILL_SWITCH}={point.name})",
                    PluginWarning,
                    stacklevel=2,
                )

    def find(self, kind: str, name: str) -> type:
        """The class registered as `name`; UnknownNameError offers the nearest."""
        if name not in self.classes[kind]:
            raise UnknownNameError(
                "method" if kind == "explainer" else kind, name, self.classes[kind]
            )
        return self.classes[kind][name].cls

    def _add(self, plugin: Any, name: str, distribution: str, version: str) -> None:
        """Registers one plugin wholly or not at all."""
        who = f"plugin {name!r} of {distribution} {version}"
        if self.manager.has_plugin(name):
            raise PluginError(
                f"{who}: a plugin of this name is registered already; rename one entry point"
            )
        self.manager.register(plugin, name=name)
        try:
            self._check_hooks(plugin, who)
            added = {
                kind: self._collect(hook, kind, name, who, distribution)
                for hook, kind in HOOKS.items()
            }
        except BaseException:
            self.manager.unregister(name=name)
            raise
        for kind, classes in added.items():
            self.classes[kind].update(classes)
        names = tuple(n for classes in added.values() for n in classes)
        self.plugins.append(PluginInfo(name, distribution, version, names, "loaded"))

    def _check_hooks(self, plugin: Any, who: str) -> None:
        try:
            self.manager.check_pending()
        except pluggy.PluginValidationError as error:
            raise PluginError(
                f"{who} has a hook that does not exist ({error}); hooks are: {', '.join(HOOKS)}"
            ) from error
        hooks = self.manager.get_hookcallers(plugin) or []
        if not hooks:
            raise PluginError(
                f"{who} implements no hook; mark functions named {', '.join(HOOKS)} with"
                " @camport.hookimpl"
            )

    def _collect(
        self, hook: str, kind: str, name: str, who: str, distribution: str
    ) -> dict[str, _Owned]:
        caller = getattr(self.manager.hook, hook)
        impl = next((i for i in caller.get_hookimpls() if i.plugin_name == name), None)
        if impl is None:
            return {}
        found: dict[str, _Owned] = {}
        returned = impl.function()
        if isinstance(returned, type) or not isinstance(returned, Iterable):
            raise PluginError(
                f"{who}: {hook}() returned {returned!r}; wanted a list of {kind} classes"
            )
        for cls in returned:
            problem = _problem(kind, cls)
            if problem:
                raise PluginError(f"{who}: {hook}() returned {cls!r}, {problem}")
            owner = self.classes[kind].get(cls.name) or found.get(cls.name)
            if owner:
                raise PluginError(
                    f"{who}: {kind} name {cls.name!r} is taken by plugin {owner.plugin!r} of"
                    f" {owner.distribution}; rename one of them"
                )
            found[cls.name] = _Owned(cls, name, distribution)
        return found


def _problem(kind: str, cls: Any) -> str:
    """What is wrong with a class that a hook returned; "" where it is right."""
    from camport.core.adapter import Adapter
    from camport.core.explainer import Explainer
    from camport.core.metric import Metric
    from camport.core.model_family import ModelFamily

    kinds: dict[str, tuple[Any, tuple[str, ...]]] = {
        "explainer": (Explainer, ("name", "title", "paper", "family", "needs_gradients")),
        "adapter": (Adapter, ("name", "title")),
        "metric": (Metric, ("name", "title")),
        "model family": (ModelFamily, ("name", "title")),
    }
    base, traits = kinds[kind]
    if not isinstance(cls, type) or not issubclass(cls, base):
        return (
            f"which is no subclass of camport.{base.__name__}; return classes, not instances or"
            " functions"
        )
    missing = [trait for trait in traits if not hasattr(cls, trait)]
    if missing:
        return f"which does not declare {', '.join(missing)} on the class"
    for trait in {*traits, "paper"} & {"name", "title", "paper", "family"}:
        text = getattr(cls, trait, "")
        if not isinstance(text, str) or len(text) > 200:
            return f"whose {trait} is {str(text)[:40]!r}; declare a text of at most 200 characters"
    if kind == "metric" and (problem := _problem_of_metric(cls)):
        return problem
    name = getattr(cls, "name", "")
    if kind == "model family" and not re.fullmatch(r"\w+", name):
        return (
            f"whose name {name!r} cannot stand before a colon; use letters, digits and underscores"
        )
    if inspect.isabstract(cls):
        lacking = sorted(getattr(cls, "__abstractmethods__", ()))
        return f"which is abstract: it does not implement {', '.join(lacking)}"
    return ""


def _problem_of_metric(cls: Any) -> str:
    from camport.core.metric import NEEDS, Metric

    if all(
        getattr(cls, name) is getattr(Metric, name) for name in ("__call__", "measure", "curves")
    ):
        return "which is abstract: it implements neither __call__ nor measure nor curves"
    if isinstance(cls.needs, str) or not set(cls.needs) <= NEEDS:
        return f"which needs {cls.needs!r}; wanted a frozenset of {', '.join(sorted(NEEDS))}"
    if cls.better not in ("higher", "lower"):
        return f"of which {cls.better!r} is better; wanted 'higher' or 'lower'"
    return ""


def _import_built_in(name: str) -> ModuleType:
    import importlib

    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("camport"):
            raise
        raise MissingDependencyError(
            f'{error.name} is needed for this: pip install "camport[torch]"'
        ) from error


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "0"


def entry_points() -> list[metadata.EntryPoint]:
    """Those of the group `camport`; a distribution whose own metadata is damaged is left out."""
    try:
        return list(metadata.entry_points(group=PROJECT))
    except Exception:  # one damaged file of any distribution stops the reader of all
        found: list[metadata.EntryPoint] = []
        for distribution in metadata.distributions():
            try:
                found += distribution.entry_points.select(group=PROJECT)
            except Exception as error:
                place = getattr(distribution, "_path", "a distribution")
                warnings.warn(
                    f"the metadata in {place} is damaged and was left out: {reason_of(error)}"
                    " (reinstall it)",
                    PluginWarning,
                    stacklevel=2,
                )
        return found


def _owner(point: metadata.EntryPoint) -> tuple[str, str]:
    """Name and version of the distribution that an entry point comes from."""
    try:
        assert point.dist is not None
        return str(point.dist.name or "unknown distribution"), str(point.dist.version or "?")
    except Exception:  # metadata that is damaged or gone
        return "unknown distribution", "?"


@cache
def _registry() -> Registry:
    return Registry(entry_points(), os.environ.get(KILL_SWITCH, ""))


def registered() -> Registry:
    """The registry of this process, made at first use."""
    with _LOCK:
        return _registry()


def explainer(name: str) -> type[Explainer]:
    """The explainer class called `name`."""
    return registered().find("explainer", name)


def adapter(name: str) -> type[Adapter]:
    """The adapter class called `name`."""
    return registered().find("adapter", name)


def model_families() -> dict[str, type[ModelFamily]]:
    """All families of models by name."""
    return {name: owned.cls for name, owned in registered().classes["model family"].items()}


def metric(name: str) -> type[Metric]:
    """The metric class called `name`."""
    return registered().find("metric", name)


def methods() -> dict[str, MethodInfo]:
    """All explainers by name."""
    return {
        name: MethodInfo(
            name,
            o.cls.title,
            o.cls.paper,
            o.cls.family,
            o.cls.needs_gradients,
            o.cls.exportable,
            o.distribution,
        )
        for name, o in registered().classes["explainer"].items()
    }


def adapters() -> dict[str, AdapterInfo]:
    """All adapters by name."""
    found = registered().classes["adapter"]
    return {n: AdapterInfo(n, o.cls.title, o.distribution, o.cls.fields) for n, o in found.items()}


def metrics() -> dict[str, MetricInfo]:
    """All metrics by name."""
    return {
        name: MetricInfo(
            name,
            o.cls.title,
            o.cls.paper,
            tuple(sorted(o.cls.needs, reverse=True)),
            o.cls.better,
            o.cls.range,
            o.cls.unit,
            o.distribution,
        )
        for name, o in registered().classes["metric"].items()
    }


def plugins() -> list[PluginInfo]:
    """All plugins, loaded, broken and disabled."""
    return list(registered().plugins)


def kinds_of(plugin: str) -> list[str]:
    """The kind of each class that a plugin adds."""
    return [
        "method" if kind == "explainer" else kind
        for kind, classes in registered().classes.items()
        for owned in classes.values()
        if owned.plugin == plugin
    ]
