"""Whose an unforeseen error is: a plugin's, where its code raised it."""

from __future__ import annotations

from traceback import walk_tb
from types import FrameType

from camport.core.registry import BUILT_IN, registered

KINDS = {"explainer": "method"}
"""What the registry's kinds are called in messages, where it is another word."""


def raised_by(error: BaseException) -> str | None:
    """The plugin whose code raised an error, e.g. "adapter joints of camport-joints 1.0.0"; None
    where no plugin's did.

    That is whose frame is the innermost of any plugin's; none's where it called the user's model,
    which raised.
    """
    frames = [frame for frame, _ in walk_tb(error.__traceback__)][::-1]
    packages = _packages()
    for depth, frame in enumerate(frames):
        if frame.f_code.co_name == "_call_impl" and _module(frame) == "torch.nn.modules.module":
            return None
        for package, plugin in packages.items():
            if f"{_module(frame)}.".startswith(f"{package}."):
                return _named(plugin, frames[depth:])
    return None


def _packages() -> dict[str, str]:
    """Plugins of other distributions by the packages that their modules lie in."""
    found: dict[str, str] = {}
    registry = registered()
    for info in registry.plugins:
        if info.name in BUILT_IN:
            continue
        module = getattr(registry.manager.get_plugin(info.name), "__name__", "")
        classes = (owned for kind in registry.classes.values() for owned in kind.values())
        modules = [owned.cls.__module__ for owned in classes if owned.plugin == info.name]
        for name in filter(None, [module, *modules]):
            # a module of a package has others beside it, which are the plugin's too
            found.setdefault(name.rpartition(".")[0] or name, info.name)
    return found


def _named(plugin: str, frames: list[FrameType]) -> str:
    """The class of a plugin that frames are in, innermost first; the plugin where they are in
    none."""
    registry = registered()
    info = next(info for info in registry.plugins if info.name == plugin)
    whose = f"of {info.distribution} {info.version}"
    for frame in frames:
        for kind, classes in registry.classes.items():
            for name, owned in classes.items():
                if owned.plugin == plugin and isinstance(frame.f_locals.get("self"), owned.cls):
                    return f"{KINDS.get(kind, kind)} {name} {whose}"
    return f"plugin {plugin} {whose}"


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))
