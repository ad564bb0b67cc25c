"""The families of models that camport knows, registered as those of plugins are;
loaders are imported late."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from camport.core.markers import hookimpl
from camport.core.model_family import ModelFamily

if TYPE_CHECKING:
    from camport.models.loaded import Loaded


class _Library(ModelFamily):
    """A family whose loader is the module of its name, with published weights, weights of a file,
    or random ones."""

    def load(
        self, name: str, weights: Path | None, *, pretrained: bool, trust_checkpoint: bool
    ) -> Loaded:
        """As `ModelFamily.load`."""
        return import_module(f"camport.models.{self.name}").load(name, weights, pretrained)


class Torchvision(_Library):
    """torchvision's models."""

    name, title = "torchvision", "torchvision's models, e.g. torchvision:resnet50"


class Timm(_Library):
    """timm's models."""

    name, title = "timm", "timm's models, e.g. timm:convnextv2_nano"


class HuggingFace(_Library):
    """transformers' image classifiers."""

    name, title = "hf", "transformers image classifiers, a name on the hub or a local directory"


class Demo(_Library):
    """The networks shipped with camport, and the ImageNet classifier of its demo."""

    name = "demo"
    title = (
        "the networks shipped with camport, e.g. demo:digits; demo:imagenet, a trained ImageNet"
        " classifier"
    )


class Ultralytics(ModelFamily):
    """Checkpoints and networks of the ultralytics package."""

    name, form = "ultralytics", "FILE"
    title = (
        "a checkpoint (.pt) or network (.yaml) of the ultralytics package, where you installed it"
    )

    def load(
        self, name: str, weights: Path | None, *, pretrained: bool, trust_checkpoint: bool
    ) -> Loaded:
        """As `ModelFamily.load`."""
        from camport.models import yolo

        return yolo.load(self.name, name, weights, trust_checkpoint)


class YOLOv5(Ultralytics):
    """Likewise of the yolov5 package."""

    name, title = "yolov5", "likewise of the yolov5 package"


@hookimpl
def camport_models() -> list[type[ModelFamily]]:
    """All of them, in the order of `--model`'s help."""
    return [Torchvision, Timm, HuggingFace, Ultralytics, YOLOv5, Demo]
