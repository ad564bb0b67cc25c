"""Detectors and classifiers of YOLO packages that the user installed himself,
loaded by those packages' own code.

Nothing of theirs is imported here: the SPEC names the package, and it is asked for by that name.
Their checkpoints hold whole Python objects, and loading one runs whatever code it names. What their
.yaml files say of a network is evaluated as Python by these packages: a file that is not their own
is trusted as a checkpoint is.
"""

import importlib
import importlib.util
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from camport.errors import InputError, MissingDependencyError, ModelError
from camport.models.loaded import Loaded
from camport.models.weights import load_state, read_state
from camport.runtime import Preprocess

PACKAGES = {
    "ultralytics": "pip install ultralytics",
    "yolov5": 'pip install "setuptools<81" yolov5',
}
"""What installs each; yolov5 imports pkg_resources, which newer setuptools lack."""
SIDE, CLASSES_SIDE = 640, 224
"""What their detectors and their classifiers are trained at where nothing else is said."""

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def load(package: str, name: str, weights: Path | None, trusted: bool) -> Loaded:
    """`ultralytics:best.pt`, `ultralytics:yolov8n.yaml`, `yolov5:best.pt`.

    Raises:
        MissingDependencyError: the package is not installed.
        InputError: a checkpoint with Python objects, or a description of a network from elsewhere
            than the package, that nobody vouched for.
        ModelError: no such file, or the package cannot load it.
    """
    if importlib.util.find_spec(package) is None:
        raise MissingDependencyError(
            f"{package} is not installed here; install it where you run camport:"
            f" {PACKAGES[package]}"
        )
    file = Path(name)
    if file.suffix == ".pt":
        _check(file, trusted)
    elif file.suffix == ".yaml":
        _check_description(name, trusted)
    else:
        raise InputError(f"{package}:{name} is no checkpoint (.pt) and no network (.yaml)")
    try:
        found = _ultralytics(name) if package == "ultralytics" else _yolov5(file)
    except Exception as error:  # whatever the package raises
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(f"{package} cannot load {name}: {reason[:200]}") from None
    model = found.float().eval()
    if weights is not None:
        load_state(model, read_state(weights), weights)
    named: Any = getattr(model, "names", None) or {}
    labels = tuple(str(named[i]) for i in range(len(named)))
    if _classifies(model):
        return Loaded(model, _square(model, package, trained=file.suffix == ".pt"), labels)
    step = int(max(getattr(model, "stride", torch.tensor([32.0])).max(), 32))
    return Loaded(
        model,
        Preprocess(size=(SIDE, SIDE), fit="letterbox", stride=step),
        labels,
        adapter="detection",
    )


def _classifies(model: nn.Module) -> bool:
    """Whether the last of the network's layers ends in one linear layer: detectors have
    convolutions, or several."""
    layers = [*getattr(model, "model", model).children()] or [model]
    return sum(isinstance(part, nn.Linear) for part in layers[-1].modules()) == 1


def _square(model: nn.Module, package: str, trained: bool) -> Preprocess:
    """The shorter side brought to the trained size and the centre cut out,
    as these packages predict classes.

    yolov5 normalises by ImageNet's statistics; the other package as the checkpoint's own transforms
    say.
    """
    mean, std = (
        (IMAGENET_MEAN, IMAGENET_STD) if package == "yolov5" else ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    )
    for step in getattr(getattr(model, "transforms", None), "transforms", ()):
        if hasattr(step, "mean") and hasattr(step, "std"):
            (r, g, b), (sr, sg, sb) = map(float, step.mean), map(float, step.std)
            mean, std = (r, g, b), (sr, sg, sb)
    args: Any = getattr(model, "args", None) or {}
    told = (args if isinstance(args, dict) else vars(args)).get("imgsz") if trained else None
    sides = [told, told] if isinstance(told, int) else list(told or [CLASSES_SIDE, CLASSES_SIDE])
    size = int(sides[0]), int(sides[-1])
    return Preprocess(
        size=size, fit="crop" if size[0] == size[1] else "stretch", mean=mean, std=std
    )


def _check(file: Path, trusted: bool) -> None:
    if not file.is_file():
        raise ModelError(
            f"checkpoint {file} {'is a directory' if file.is_dir() else 'does not exist'}; name a"
            " file"
        )
    if not zipfile.is_zipfile(file):
        raise ModelError(f"checkpoint {file} is no PyTorch file, or is cut off")
    if not trusted:
        raise InputError(
            f"checkpoint {file} holds Python objects, and loading it may run any code: if it is"
            " your own or you trust its source, say --trust-checkpoint (load_model(...,"
            " trust_checkpoint=True))"
        )


def _check_description(name: str, trusted: bool) -> None:
    """The package's own description is asked for by its bare name,
    where no file of the working directory hides it.

    `yolov8n.yaml` is looked up as `yolov8.yaml` too, without the letter of its scale.
    """
    names = {name, *(name[:i] + name[i + 1 :] for i in range(len(name)))}
    own = Path(name).name == name and not any(
        Path(known).exists() for known in names if known.endswith(".yaml")
    )
    if not (own or trusted):
        raise InputError(
            f"{name} is evaluated as Python code where it is read: if it is your own or you trust"
            " its source, say --trust-checkpoint (load_model(..., trust_checkpoint=True))"
        )


def _ultralytics(name: str) -> nn.Module:
    package: Any = importlib.import_module("ultralytics")
    kind = "RTDETR" if Path(name).stem.lower().startswith("rtdetr") else "YOLO"
    return _network(getattr(package, kind)(name).model)


def _yolov5(file: Path) -> nn.Module:
    if file.suffix == ".yaml":
        package = importlib.util.find_spec("yolov5")
        folders = [] if package is None else list(package.submodule_search_locations or [])
        own = [match for folder in folders for match in Path(folder, "models").rglob(file.name)]
        chosen = file if file.is_file() or not own else own[0]
        return _network(importlib.import_module("yolov5.models.yolo").DetectionModel(str(chosen)))
    # the package knows how to find the modules that its checkpoints name;
    # a bare file name it looks up on a hub
    loader = importlib.import_module("yolov5.models.experimental")
    with _objects_are_read(loader):
        return _network(loader.attempt_load(str(file.resolve()), fuse=False))


class _ObjectsToo:
    """PyTorch as a module of the package sees it, whose `load` reads whole objects on one thread.

    As torch.load did when the package was written. PyTorch's own switch for that is the process's.
    """

    def __init__(self) -> None:
        self._thread = threading.get_ident()

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)

    def load(self, *arguments: Any, **options: Any) -> Any:
        """torch.load."""
        if threading.get_ident() == self._thread:
            options = {"weights_only": False, **options}
        return torch.load(*arguments, **options)


_one = threading.Lock()


@contextmanager
def _objects_are_read(loader: Any) -> Iterator[None]:
    """While open, what the module loads on this thread is read as whole objects;
    other threads wait to open it."""
    with _one:
        loader.torch = _ObjectsToo()
        try:
            yield
        finally:
            loader.torch = torch


def _network(found: Any) -> nn.Module:
    if not isinstance(found, nn.Module):
        raise TypeError(f"it gave {type(found).__name__}, not a network")
    return found
