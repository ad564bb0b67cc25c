"""The methods that are timed, with few variants each, and how other libraries are asked for the same."""

import copy
from collections.abc import Callable, Iterator
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
        tail: makes a run of the image and of the tail's variants, for methods that run the tail alone.
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


class Peers:
    """The same method of other libraries, each on a model of its own, since their hooks stay on it."""

    def __init__(self, model: nn.Module, line: Line, images: Tensor, target: int) -> None:
        self.model, self.line, self.images, self.target = model, line, images, target

    def runs(self) -> dict[str, Callable[[], Any]]:
        """A run a library that has the method."""
        return dict(self._runs())

    def _runs(self) -> Iterator[tuple[str, Callable[[], Any]]]:
        name = self.line.name
        if name in GRAD_CAM:
            yield "grad-cam", self._grad_cam(GRAD_CAM[name])
        if name in TORCHCAM:
            yield "torchcam", self._torchcam(*TORCHCAM[name])
        if name in CAPTUM:
            yield "captum", CAPTUM[name](self._own(), self)

    def _own(self) -> nn.Module:
        return copy.deepcopy(self.model).requires_grad_(True)

    def _grad_cam(self, cls: str) -> Callable[[], Any]:
        import pytorch_grad_cam
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

        model = self._own()
        if cls == "GuidedBackpropReLUModel":
            guided = pytorch_grad_cam.GuidedBackpropReLUModel(model=model, device="cpu")
            return lambda: guided(self.images.clone(), self.target)
        if cls == "DeepFeatureFactorization":
            factors = pytorch_grad_cam.DeepFeatureFactorization(model, model.get_submodule(self.line.layer))
            return lambda: factors(self.images, self.line.method.concepts)
        layers = [] if cls == "FullGrad" else [model.get_submodule(self.line.layer)]
        cam = getattr(pytorch_grad_cam, cls)(model=model, target_layers=layers)
        cam.batch_size = 32
        targets = [ClassifierOutputTarget(self.target)]
        return lambda: cam(input_tensor=self.images, targets=targets)

    def _torchcam(self, cls: str, options: dict[str, Any]) -> Callable[[], Any]:
        import torchcam.methods

        model = self._own()
        layers = list(model.get_submodule("encoder.layers")) if cls == "LeGrad" else self.line.layer
        extractor = getattr(torchcam.methods, cls)(model, layers, **options)

        def run() -> Any:
            extractor.enable_hooks()
            (cam,) = extractor(self.target, model(self.images))
            return torch.nn.functional.interpolate(cam[None], (self.line.size,) * 2, mode="bilinear")

        return run


GRAD_CAM = {
    "scorecam": "ScoreCAM",
    "ablationcam": "AblationCAM",
    "gradcam": "GradCAM",
    "gradcam++": "GradCAMPlusPlus",
    "xgradcam": "XGradCAM",
    "hirescam": "HiResCAM",
    "layercam": "LayerCAM",
    "gradcam_elementwise": "GradCAMElementWise",
    "shapleycam": "ShapleyCAM",
    "finercam": "FinerCAM",
    "eigencam": "EigenCAM",
    "eigengradcam": "EigenGradCAM",
    "kpcacam": "KPCA_CAM",
    "fem": "FEM",
    "dff": "DeepFeatureFactorization",
    "guided_backprop": "GuidedBackpropReLUModel",
    "fullgrad": "FullGrad",
}
TORCHCAM: dict[str, tuple[str, dict[str, Any]]] = {
    "scorecam": ("ScoreCAM", {}),
    "sscam": ("SSCAM", {"num_samples": 2}),
    "iscam": ("ISCAM", {"num_samples": 2}),
    "gradcam": ("GradCAM", {}),
    "gradcam++": ("GradCAMpp", {}),
    "xgradcam": ("XGradCAM", {}),
    "layercam": ("LayerCAM", {}),
    "cam": ("CAM", {"fc_layer": "fc"}),
    "finercam": ("FinerCAM", {}),
    "legrad": ("LeGrad", {}),
    "smoothgradcam++": ("SmoothGradCAMpp", {"num_samples": 4}),
}


def _captum(cls: str, layer: bool = False, **options: Any) -> Callable[[nn.Module, Peers], Callable[[], Any]]:
    def make(model: nn.Module, peers: Peers) -> Callable[[], Any]:
        import captum.attr

        for module in model.modules():
            if isinstance(module, nn.ReLU):
                module.inplace = False  # its rules for ReLUs need that
        places = [model.get_submodule(peers.line.layer)] if layer else []
        method = getattr(captum.attr, cls)(model, *places)
        return lambda: method.attribute(peers.images.clone().requires_grad_(), target=peers.target, **options)

    return make


def _noise_tunnel(model: nn.Module, peers: Peers) -> Callable[[], Any]:
    import captum.attr

    method, x = captum.attr.NoiseTunnel(captum.attr.Saliency(model)), peers.images
    deviation = 0.15 * float(x.max() - x.min())
    return lambda: method.attribute(x, nt_samples=8, stdevs=deviation, target=peers.target, abs=False)


CAPTUM: dict[str, Callable[[nn.Module, Peers], Callable[[], Any]]] = {
    "gradcam": _captum("LayerGradCam", layer=True, relu_attributions=True),
    "saliency": _captum("Saliency"),
    "deconvnet": _captum("Deconvolution"),
    "guided_gradcam": _captum("GuidedGradCam", layer=True),
    "integrated_gradients": _captum("IntegratedGradients", n_steps=16, internal_batch_size=16),
    "occlusion": _captum(
        "Occlusion", sliding_window_shapes=(3, 56, 56), strides=(3, 28, 28), perturbations_per_eval=32
    ),
    "smoothgrad": _noise_tunnel,
}
