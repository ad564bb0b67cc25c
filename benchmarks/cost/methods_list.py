"""The methods that are timed, with few variants each."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

import camport
from camport.plugins import (
    DFF,
    ISCAM,
    RISE,
    SSCAM,
    AblationCAM,
    GroupCAM,
    IntegratedGradients,
    Occlusion,
    ReciproCAM,
    ScoreCAM,
    SmoothGrad,
    SmoothGradCAMPlusPlus,
)

TAIL_BATCH = 32


@dataclass(frozen=True)
class Line:
    """One method on one network.

    Attributes:
        method: an instance, or its name.
        says: what is run, in words.
        layer: the target layer.
        passes: images that go through the whole model; 0 where no limit is stated.
        tail: makes a run of the image and of the tail's variants, for methods that run the tail
            alone.
        network, size: of the images.
    """

    method: Any
    says: str
    layer: str = "layer4"
    passes: int = 0
    tail: Callable[[nn.Module, Tensor, Any], Callable[[], Any]] | None = None
    network: str = "resnet18"
    size: int = 224

    @property
    def name(self) -> str:
        """Registry name."""
        return self.method if isinstance(self.method, str) else self.method.name

    @property
    def title(self) -> str:
        """The method's name as its paper spells it."""
        return camport.methods()[self.name].title


def tail_of(variants: int, *behind: str) -> Callable[[nn.Module, Tensor, Any], Callable[[], Any]]:
    """The image once, and `variants` of what lies behind the layer, written out by hand."""

    def make(model: nn.Module, images: Tensor, bound: Any) -> Callable[[], Any]:
        parts = [model.get_submodule(name) for name in behind]
        maps = bound(images).activations[0]
        batch = maps.expand(TAIL_BATCH, *maps.shape[1:]).contiguous()

        def run() -> None:
            with torch.inference_mode():
                model(images)
                for start in range(0, variants, TAIL_BATCH):
                    x = batch[: min(TAIL_BATCH, variants - start)]
                    for part in parts:
                        x = part(x)
                    model.fc(x.flatten(1))

        return run

    return make


LINES = (
    Line(ScoreCAM("torchcam"), "64 masks, layer1", "layer1", passes=65),
    Line(GroupCAM(32), "32 groups and the blurred image, layer4", passes=34),
    Line(RISE(64), "64 masks", passes=65),
    Line(AblationCAM(), "256 channels, layer3", "layer3", tail=tail_of(256, "layer4", "avgpool")),
    Line(ReciproCAM(), "196 places, layer3", "layer3", tail=tail_of(196, "layer4", "avgpool")),
    Line("gradcam", "layer4", passes=1),
    Line("gradcam++", "layer4", passes=1),
    Line("xgradcam", "layer4", passes=1),
    Line("hirescam", "layer4", passes=1),
    Line("layercam", "layer4", passes=1),
    Line("gradcam_elementwise", "layer4", passes=1),
    Line("shapleycam", "layer4", passes=1),
    Line("finercam", "layer4", passes=1),
    Line("cam", "layer4", passes=1),
    Line("eigencam", "layer4", passes=1),
    Line("eigengradcam", "layer4", passes=1),
    Line("kpcacam", "layer4", passes=1),
    Line("fem", "layer4", passes=1),
    Line(DFF(8), "8 concepts, layer4", passes=1),
    Line("legrad", "every block", network="vit_b_16"),
    Line("saliency", "one gradient to the image"),
    Line("guided_backprop", "one gradient to the image"),
    Line("deconvnet", "one gradient to the image"),
    Line("guided_gradcam", "layer4"),
    Line("fullgrad", "every bias"),
    Line(IntegratedGradients(16), "16 steps"),
    Line(SmoothGrad(8), "8 noisy images"),
    Line(SmoothGradCAMPlusPlus(4, preset="torchcam"), "4 noisy images, layer4"),
    Line(SSCAM(2, preset="torchcam"), "64 masks with 2 noises each, layer1", "layer1", passes=129),
    Line(ISCAM(2, preset="torchcam"), "64 masks at 2 scales, layer1", "layer1", passes=129),
    Line(Occlusion((56, 56), (28, 28)), "49 patches", passes=50),
)
