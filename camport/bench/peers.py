"""The same method of grad-cam, torchcam and captum, called as their manuals say,
each on a model of its own.

Their hooks stay on the model they were given. Options that say how many variants of the image are
run are those of camport's method, the others are the library's own.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from camport.core.explainer import Explainer
from camport.errors import MethodError, MissingDependencyError

Run = Callable[[], Any]

PACKAGES = {"grad-cam": "pytorch_grad_cam", "torchcam": "torchcam", "captum": "captum"}
"""Import names by distribution."""


def installed() -> list[str]:
    """The libraries that are there."""
    return [library for library, package in PACKAGES.items() if find_spec(package) is not None]


@dataclass(frozen=True)
class Peers:
    """Makes runs of other libraries.

    Attributes:
        model: copied for each run.
        method: camport's, with its options.
        layer: dotted module name of the target layer; "" where the method has none.
        images: [b,c,H,W].
        target: [b] int64 or an int, the class that is explained.
    """

    model: nn.Module
    method: Explainer
    layer: str
    images: Tensor
    target: Tensor | int

    def libraries(self) -> list[str]:
        """Those that are installed and have the method."""
        return [library for library in installed() if self.method.name in METHODS[library]]

    def run(self, library: str) -> Run:
        """A run of the whole explanation, up to a map of the images' size where the library makes
        one.

        Raises:
            MissingDependencyError: the library is not installed.
            MethodError: it does not have the method.
        """
        if find_spec(PACKAGES[library]) is None:
            raise MissingDependencyError(f"{library} is not installed")
        if self.method.name not in METHODS[library]:
            raise MethodError(f"{library} does not have {self.method.name}")
        make = {"grad-cam": self._grad_cam, "torchcam": self._torchcam, "captum": self._captum}[
            library
        ]
        return make(copy.deepcopy(self.model).requires_grad_(True))

    @property
    def _targets(self) -> list[int]:
        return torch.as_tensor(self.target).expand(len(self.images)).tolist()

    def _samples(self) -> int:
        """How many variants are run, where the method says it:
        libraries differ in their defaults."""
        count = self.method.options()["samples"]
        if count is None:
            raise MethodError(
                f"other libraries have another default: say {self.method.name}(samples=NUMBER)"
            )
        return int(count)

    def _grad_cam(self, model: nn.Module) -> Run:
        import pytorch_grad_cam
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

        cls, targets = GRAD_CAM[self.method.name], self._targets
        if cls == "GuidedBackpropReLUModel":
            guided = pytorch_grad_cam.GuidedBackpropReLUModel(
                model=model, device=self.images.device
            )
            return lambda: [
                guided(x[None].clone(), t) for x, t in zip(self.images, targets, strict=True)
            ]
        if cls == "DeepFeatureFactorization":
            factors = pytorch_grad_cam.DeepFeatureFactorization(
                model, model.get_submodule(self.layer)
            )
            return lambda: factors(self.images, self.method.options()["concepts"])
        layers = [] if cls == "FullGrad" else [model.get_submodule(self.layer)]
        cam = getattr(pytorch_grad_cam, cls)(model=model, target_layers=layers)
        cam.batch_size = 32
        asked = [ClassifierOutputTarget(t) for t in targets]
        return lambda: cam(input_tensor=self.images, targets=asked)

    def _torchcam(self, model: nn.Module) -> Run:
        import torchcam.methods

        cls = TORCHCAM[self.method.name]
        options: dict[str, Any] = {}
        if cls in ("SSCAM", "ISCAM", "SmoothGradCAMpp"):
            options = {"num_samples": self._samples()}
        if cls == "CAM":
            linear = [
                name for name, module in model.named_modules() if isinstance(module, nn.Linear)
            ]
            options = {"fc_layer": linear[-1] if linear else None}
        blocks = "encoder.layers"  # of torchvision's vision transformers, the only ones it reads
        layers: Any = list(model.get_submodule(blocks)) if cls == "LeGrad" else self.layer  # type: ignore[call-overload]
        extractor, size = (
            getattr(torchcam.methods, cls)(model, layers, **options),
            tuple(self.images.shape[-2:]),
        )

        def run() -> Any:
            extractor.enable_hooks()
            (cam,) = extractor(self._targets, model(self.images))
            return torch.nn.functional.interpolate(cam[:, None], size, mode="bilinear")

        return run

    def _captum(self, model: nn.Module) -> Run:
        import captum.attr

        for module in model.modules():
            if isinstance(module, nn.ReLU):
                module.inplace = False  # its rules for ReLUs need that
        cls, options = CAPTUM[self.method.name], {}
        own = self.method.options()
        chunk = max(16, len(self.images))
        target = torch.tensor(self._targets, device=self.images.device)
        if cls == "NoiseTunnel":
            tunnel = captum.attr.NoiseTunnel(captum.attr.Saliency(model))
            count = self._samples()
            deviation = own["noise"] * float(self.images.max() - self.images.min())
            return lambda: tunnel.attribute(
                self.images,
                nt_samples=count,
                nt_samples_batch_size=8,
                stdevs=deviation,
                target=target,
                abs=False,
            )
        if cls == "IntegratedGradients":
            options = {"n_steps": own["steps"], "internal_batch_size": chunk}
        if cls == "Occlusion":
            if own["patch"] is None or own["stride"] is None:
                raise MethodError(
                    "captum's occlusion needs a patch and a stride: occlusion(patch=...,"
                    " stride=...)"
                )
            channels = self.images.shape[1]
            options = {
                "sliding_window_shapes": (channels, *own["patch"]),
                "strides": (channels, *own["stride"]),
                "perturbations_per_eval": 32,
            }
        if cls == "LayerGradCam":
            layer = captum.attr.LayerGradCam(model, model.get_submodule(self.layer))
            size = tuple(self.images.shape[-2:])

            def run() -> Any:
                found = layer.attribute(self.images, target=target, relu_attributions=True)
                return captum.attr.LayerAttribution.interpolate(
                    found, size, interpolate_mode="bilinear"
                )

            return run
        places = [model.get_submodule(self.layer)] if cls == "GuidedGradCam" else []
        method = getattr(captum.attr, cls)(model, *places)
        return lambda: method.attribute(
            self.images.clone().requires_grad_(), target=target, **options
        )


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
TORCHCAM = {
    "scorecam": "ScoreCAM",
    "sscam": "SSCAM",
    "iscam": "ISCAM",
    "gradcam": "GradCAM",
    "gradcam++": "GradCAMpp",
    "xgradcam": "XGradCAM",
    "layercam": "LayerCAM",
    "cam": "CAM",
    "finercam": "FinerCAM",
    "legrad": "LeGrad",
    "smoothgradcam++": "SmoothGradCAMpp",
}
CAPTUM = {
    "gradcam": "LayerGradCam",
    "saliency": "Saliency",
    "deconvnet": "Deconvolution",
    "guided_backprop": "GuidedBackprop",
    "guided_gradcam": "GuidedGradCam",
    "integrated_gradients": "IntegratedGradients",
    "occlusion": "Occlusion",
    "smoothgrad": "NoiseTunnel",
}
METHODS = {"grad-cam": GRAD_CAM, "torchcam": TORCHCAM, "captum": CAPTUM}
"""Classes by camport's name, by library."""
