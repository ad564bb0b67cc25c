"""What grad-cam's classes have in common: how they are made and called, and what they return."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

import camport
from camport.compat.pytorch_grad_cam.eigen_smooth import EigenSmoothed
from camport.compat.targets import Reshape, Target, TargetsAdapter
from camport.core import Explainer, minmax, upsample
from camport.errors import InputError, MethodError

FACTORS = (0.9, 1.0, 1.1)
"""By which `aug_smooth` multiplies the image."""


class Entered:
    """May stand in a `with` block, as grad-cam's classes do; nothing is held,
    and no error is swallowed."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        """Ends the block."""


class BaseCAM(Entered):
    """A method of camport's at layers of a model, called as grad-cam's.

    The model is left as it was found: it is explained in evaluation mode whatever mode it is in,
    and no hook stays on it, so that the `with` block has nothing to release.

    Args:
        model: a classifier, or anything that `targets` can read.
        target_layers: modules of the model, or their dotted names; maps of several are each scaled,
            then averaged.
        reshape_transform: how a transformer's tokens lie on the image; None reads it from the
            model.
        options: of camport's method, e.g. `preset="grad-cam"` for the maps that grad-cam itself
            makes.

    Attributes:
        outputs: the model's own of the last call.
        batch_size: how many variants of an image are run at once, of methods that make many.
    """

    explainer: ClassVar[type[Explainer]]
    """camport's method."""

    def __init__(
        self,
        model: nn.Module,
        target_layers: Sequence[nn.Module | str],
        reshape_transform: Reshape | None = None,
        **options: Any,
    ) -> None:
        self.model, self.target_layers = model, target_layers
        self._adapter = TargetsAdapter(reshape_transform=reshape_transform)
        self._last: tuple[Any, list[camport.Bound]] | None = None
        self.method = self.explainer(**options)
        self.outputs: Any = None
        self.batch_size: int | None = None

    def __call__(
        self,
        input_tensor: Float[Tensor, "b c H W"],
        targets: Sequence[Target] | None = None,
        aug_smooth: bool = False,
        eigen_smooth: bool = False,
    ) -> Float[np.ndarray, "b H W"]:
        """A map of each image, float32 in [0,1].

        Args:
            input_tensor: [b,c,H,W] as the model wants it; brought to the model's device.
            targets: what is explained, one callable an image; None is each image's top class.
            aug_smooth: the mean of the maps of the image and its mirror image, each times 0.9,
                1 and 1.1.
            eigen_smooth: the first principal component of the weighted activations instead of their
                sum.

        Raises:
            InputError: images or targets that cannot be explained.
            LayerError: a target layer that puts out no map.
            MethodError: `eigen_smooth` of a method that weighs no channels.
        """
        if not isinstance(input_tensor, Tensor):
            raise InputError(
                f"input_tensor is {type(input_tensor).__name__}; give a tensor [b,c,H,W]"
            )
        place = next(iter([*self.model.parameters(), *self.model.buffers()]), None)
        images = input_tensor if place is None else input_tensor.to(place.device)
        adapter = self._adapter.of(targets)
        classes = adapter.classes(images.device)
        if classes is not None:
            adapter = self._adapter
        first, found = self._explained(images, adapter, classes, eigen_smooth)
        if not aug_smooth:
            return first.cpu().numpy()
        # the class of the image itself, not of its variants
        classes = found if targets is None else classes
        maps, outputs = [first], self.outputs
        for mirrored in (False, True):
            for factor in FACTORS:
                if mirrored or factor != 1:
                    variant = (images.flip(-1) if mirrored else images) * factor
                    shown, _ = self._explained(variant, adapter, classes, eigen_smooth)
                    maps.append(shown.flip(-1) if mirrored else shown)
        self.outputs = outputs
        return torch.stack(maps).mean(0).cpu().numpy()

    forward = __call__

    def _explained(
        self, images: Tensor, adapter: TargetsAdapter, classes: Tensor | None, eigen_smooth: bool
    ) -> tuple[Float[Tensor, "b H W"], Tensor]:
        """Maps in [0,1], and the classes that were explained."""
        if self.method.needs_layer and not len(self.target_layers):
            raise MethodError(
                f"{type(self).__name__} has no target layers; give target_layers=[model.layer4[-1]]"
            )
        maps = []
        for bound in self._bounds(adapter, eigen_smooth):
            explanation = bound(images, classes)
            self.outputs, found = explanation.outputs, explanation.target
            # positive evidence alone, as each of grad-cam's methods shows
            maps.append(
                upsample(minmax(explanation.raw.relu()), (images.shape[-2], images.shape[-1]))
            )
        return minmax(torch.stack(maps).mean(0)).float(), found

    def _bounds(self, adapter: TargetsAdapter, eigen_smooth: bool) -> list[camport.Bound]:
        """The method bound at each layer; those of the last call where the same is asked,
        since binding costs time."""
        layers = [*self.target_layers] if self.method.needs_layer else [None]
        key = (adapter, eigen_smooth, self.batch_size, layers)
        if self._last is None or self._last[0] != key:
            method = EigenSmoothed(self.method) if eigen_smooth else self.method
            bounds = [
                camport.bind(self.model, method, layer, adapter, chunk=self.batch_size)
                for layer in layers
            ]
            self._last = key, bounds
        return self._last[1]
