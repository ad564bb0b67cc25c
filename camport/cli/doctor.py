"""`camport doctor`: what is installed, what works, and the command that brings what does not."""

import os
import platform
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec

from camport.cli.listings import Json
from camport.cli.printing import say, say_json
from camport.errors import CamportError

OPTIONAL = ("torch", "cpu", "demo", "xrai", "metrics", "evaluate", "bench")
"""Extras that bring what users need."""

USERS = ("transformers", "ultralytics", "yolov5", "opencv-python-headless", "onnxruntime-gpu")
"""Packages that users bring themselves; absent ones are no fault."""


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        what: a package, a device, a plugin.
        state: its version, or what was found.
        works: False where something is missing or broken.
        remedy: what mends it.
    """

    what: str
    state: str
    works: bool = True
    remedy: str = ""


def doctor(as_json: Json = False) -> int:
    """Say which versions and devices are there, what is missing, and how to bring it.

    The exit status is 1 where something that is installed does not work.
    """
    groups = {
        "system": list(_system()),
        "packages": list(_packages()),
        "devices": list(_devices()),
        "plugins": list(_plugins()),
    }
    if as_json:
        say_json({group: [asdict(found) for found in lines] for group, lines in groups.items()})
    else:
        width = max(len(found.what) for lines in groups.values() for found in lines)
        for group, lines in groups.items():
            say(group)
            for found in lines:
                remedy = f"  -> {found.remedy}" if found.remedy else ""
                say(
                    f"  {'ok  ' if found.works else 'no  '}{found.what:<{width}} "
                    f" {found.state}{remedy}"
                )
    broken = [
        found
        for lines in groups.values()
        for found in lines
        if not found.works and found.state != "missing"
    ]
    return 1 if broken else 0


def _system() -> Iterator[Finding]:
    yield Finding(
        "Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    )
    yield Finding("camport", _version("camport") or "not installed, run from its source")
    yield Finding("cores", str(os.cpu_count()))


def _packages() -> Iterator[Finding]:
    """What each extra brings, once, then what users bring."""
    needed: dict[str, str] = {}
    for extra in OPTIONAL:
        for line in requires("camport") or [] if _version("camport") else []:
            if f"extra == '{extra}'" in line or f'extra == "{extra}"' in line:
                needed.setdefault(_name(line), extra)
    runtime = _version("onnxruntime-gpu")
    for name, extra in sorted(
        needed.items(), key=lambda entry: (OPTIONAL.index(entry[1]), entry[0])
    ):
        found = _version(name)
        if name == "onnxruntime" and runtime and not found:
            continue  # the other build of the same package
        remedy = "" if found else f'pip install "camport[{extra}]"'
        yield Finding(name, found or "missing", bool(found), remedy)
    for name in USERS:
        if found := _version(name):
            yield Finding(name, found)
    if runtime and _version("onnxruntime"):
        both = 'pip uninstall -y onnxruntime onnxruntime-gpu, then pip install "camport[gpu]"'
        yield Finding(
            "onnxruntime and onnxruntime-gpu",
            "both are installed, and hide each other",
            False,
            both,
        )


def _devices() -> Iterator[Finding]:
    if find_spec("torch"):
        try:
            import torch
        except Exception as error:
            yield Finding(
                "PyTorch",
                f"does not load: {_line(error)}",
                False,
                "install torch and torchvision anew",
            )
        else:
            names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
            mps = getattr(torch.backends, "mps", None)
            names += ["mps"] if mps is not None and mps.is_available() else []
            yield Finding(
                "PyTorch",
                f"cpu, {torch.get_num_threads()} threads" + "".join(f"; {n}" for n in names),
            )
    if find_spec("onnxruntime"):
        try:
            import onnxruntime
        except Exception as error:
            yield Finding(
                "ONNX Runtime",
                f"does not load: {_line(error)}",
                False,
                'pip install "camport[cpu]"',
            )
        else:
            yield Finding("ONNX Runtime", ", ".join(onnxruntime.get_available_providers()))
    if find_spec("torchvision") and find_spec("torch"):
        try:
            import torchvision  # noqa: F401 - builds for another torch fail as they are imported
        except Exception as error:
            yield Finding(
                "torchvision",
                f"does not load: {_line(error)}",
                False,
                "install it with torch, from one index",
            )


def _plugins() -> Iterator[Finding]:
    from camport.core import registry

    try:
        found = registry.plugins()
    except CamportError as error:  # without PyTorch no plugin can be imported
        yield Finding("plugins", f"not looked at: {_line(error)}")
        return
    for plugin in found:
        works = plugin.state in ("loaded", "built in", "disabled")
        remedy = "" if works else f"pip install -U {plugin.distribution}, or tell its authors"
        yield Finding(
            f"{plugin.name} ({plugin.distribution} {plugin.version})", plugin.state, works, remedy
        )


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _name(requirement: str) -> str:
    """The package of a line of requirements."""
    for i, sign in enumerate(requirement):
        if not (sign.isalnum() or sign in "-_."):
            return requirement[:i]
    return requirement


def _line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
