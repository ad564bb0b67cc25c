"""The families of models that camport knows, registered as those of plugins are; loaders are imported late."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from camport.core.markers import hookimpl
from camport.core.model_family import ModelFamily

if TYPE_CHECKING:
    from camport.models.loaded import Loaded


class Torchvision(ModelFamily):
    """torchvision's models with published weights, weights of a file, or random ones."""

    name, title = "torchvision", "torchvision's models, e.g. torchvision:resnet50"

    def load(self, name: str, weights: Path | None, *, pretrained: bool, trust_checkpoint: bool) -> Loaded:
        """As `ModelFamily.load`."""
        from camport.models import torchvision

        return torchvision.load(name, weights, pretrained)


class Timm(ModelFamily):
    """timm's models."""

    name, title = "timm", "timm's models, e.g. timm:convnextv2_nano"

    def load(self, name: str, weights: Path | None, *, pretrained: bool, trust_checkpoint: bool) -> Loaded:
        """As `ModelFamily.load`."""
        from camport.models import timm

        return timm.load(name, weights, pretrained)


class HuggingFace(ModelFamily):
    """transformers' image classifiers."""

    name, title = "hf", "transformers image classifiers, a name on the hub or a local directory"

    def load(self, name: str, weights: Path | None, *, pretrained: bool, trust_checkpoint: bool) -> Loaded:
        """As `ModelFamily.load`."""
        from camport.models import hf

        return hf.load(name, weights, pretrained)


class Ultralytics(ModelFamily):
    """Checkpoints and networks of the ultralytics package."""

    name, form = "ultralytics", "FILE"
    title = "a checkpoint (.pt) or network (.yaml) of the ultralytics package, where you installed it"

    def load(self, name: str, weights: Path | None, *, pretrained: bool, trust_checkpoint: bool) -> Loaded:
        """As `ModelFamily.load`."""
        from camport.models import yolo

        return yolo.load(self.name, name, weights, trust_checkpoint)


class YOLOv5(Ultralytics):
    """Likewise of the yolov5 package."""

    name, title = "yolov5", "likewise of the yolov5 package"


class Demo(ModelFamily):
    """The networks shipped with camport, and the ImageNet classifier of its demo."""

    name = "demo"
    title = "the networks shipped with camport, e.g. demo:digits; demo:imagenet, a trained ImageNet classifier"

    def load(self, name: str, weights: Path | None, *, pretrained: bool, trust_checkpoint: bool) -> Loaded:
        """As `ModelFamily.load`."""
        from camport.models import demo

        return demo.load(name, weights, pretrained)


@hookimpl
def camport_models() -> list[type[ModelFamily]]:
    """All of them, in the order of `--model`'s help."""
    return [Torchvision, Timm, HuggingFace, Ultralytics, YOLOv5, Demo]
