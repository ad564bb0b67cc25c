"""What torchcam's extractors have in common: a hook that keeps what a model was given,
and a call that explains it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

import camport
from camport.compat.pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from camport.compat.targets import Reshape, Target, TargetsAdapter
from camport.core import Explainer, minmax, upsample
from camport.errors import InputError


class Extractor:
    """A method of camport's at layers of a model, called as torchcam's after the model was run.

    The model's own forward pass is only listened to for its images; camport runs the model once
    more for each layer, in evaluation mode. The hook goes with the `with` block, or by
    `remove_hooks`.

    Args:
        model: a classifier.
        target_layer: a module of the model, its dotted name, or a list of these; None is chosen at
            the first call.
        input_shape: not needed.
        enable_hooks: whether forward passes are listened to.
        reshape_transform: how a transformer's tokens lie on the image; None reads it from the
            model.
        batch_size: how many variants of an image are run at once, of methods that make many.
        options: of camport's method, e.g. `preset="torchcam"` for the maps that torchcam itself
            makes.
    """

    explainer: ClassVar[type[Explainer]]
    """camport's method."""
    positive: ClassVar[bool] = True
    """Whether negative evidence is cut off."""
    renamed: ClassVar[dict[str, str]] = {}
    """torchcam's names of the method's options."""

    def __init__(
        self,
        model: nn.Module,
        target_layer: nn.Module | str | Sequence[nn.Module | str] | None = None,
        input_shape: tuple[int, ...] = (3, 224, 224),
        enable_hooks: bool = True,
        reshape_transform: Reshape | None = None,
        batch_size: int | None = None,
        **options: Any,
    ) -> None:
        self.model, self.bs, self._hooks_enabled = model, batch_size, enable_hooks
        self.layers = [*target_layer] if isinstance(target_layer, list | tuple) else [target_layer]
        self.method = self.explainer(
            **{self.renamed.get(name, name): value for name, value in options.items()}
        )
        self.adapter = TargetsAdapter(reshape_transform=reshape_transform)
        self.target_names: list[str] = []
        self._images: Tensor | None = None
        self._handle: Any = None
        self._removed = False
        self._listen()

    def __enter__(self) -> Extractor:
        return self

    def __exit__(self, *raised: object) -> None:
        self.remove_hooks()
        self.reset_hooks()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(target_layer={self.target_names or self.layers})"

    def __call__(
        self,
        class_idx: int | list[int] | None = None,
        scores: Any = None,
        normalized: bool = True,
        *,
        targets: Target | list[Target] | None = None,
    ) -> list[Float[Tensor, "b h w"]]:
        """A map of each image of the last forward pass for each layer, at the layer's resolution.

        Args:
            class_idx: the class, or one an image.
            scores: what the model said; not needed.
            normalized: from 0 to 1; the method's own numbers otherwise.
            targets: in place of a class a callable of what the model says of one image, or one an
                image.

        Raises:
            InputError: the model was not run since the extractor was made, or a class that it does
                not have.
        """
        if self._images is None:
            raise InputError(
                f"{type(self).__name__} has seen no forward pass; call the model on the images"
                " first"
            )
        if (class_idx is None) == (targets is None):
            raise InputError("give either class_idx, a class or one an image, or targets")
        b = len(self._images)
        asked: Any = class_idx if targets is None else targets
        each = asked if isinstance(asked, list) else [asked] * b
        if targets is None:
            if not all(isinstance(c, int) and c >= 0 for c in each):
                raise InputError(
                    f"class_idx is {class_idx!r}; give a class, 0 or more, or a list with one an"
                    " image"
                )
            each = [ClassifierOutputTarget(c) for c in each]
        adapter = self.adapter.of(each)
        classes = adapter.classes(self._images.device)
        adapter = adapter if classes is None else self.adapter
        maps, names = [], list[str]()
        self._stop()  # what is explained is the model without this hook
        try:
            for layer in self.layers:
                bound = camport.bind(self.model, self.method, layer, adapter, chunk=self.bs)
                explanation = bound(self._images, classes)
                names += explanation.layers
                raw = explanation.raw.relu() if self.positive else explanation.raw
                maps.append(minmax(raw) if normalized else raw)
        finally:
            self._listen()
        self.target_names = names
        return maps

    compute_cams = __call__

    @classmethod
    def fuse_cams(
        cls, cams: list[Float[Tensor, "b _ _"]], target_shape: tuple[int, int] | None = None
    ) -> Float[Tensor, "b H W"]:
        """The largest of several layers' maps at each place.

        Args:
            cams: maps in [0,1].
            target_shape: (H, W); None is the largest height and width among them.
        """
        if (
            not isinstance(cams, list)
            or not cams
            or not all(isinstance(cam, Tensor) for cam in cams)
        ):
            raise InputError(
                "cams is no list of maps; give what the extractor returned, a tensor [b,h,w] a"
                " layer"
            )
        if len(cams) == 1:
            return cams[0]
        return torch.stack(
            [upsample(cls._scaled(cam), target_shape or largest(cams)) for cam in cams]
        ).amax(0)

    @staticmethod
    def _scaled(cam: Tensor) -> Tensor:
        """A map before several are fused."""
        return cam

    def enable_hooks(self) -> None:
        """Listens to forward passes."""
        self._hooks_enabled = True

    def disable_hooks(self) -> None:
        """Does not listen to forward passes."""
        self._hooks_enabled = False

    def reset_hooks(self) -> None:
        """Forgets the images."""
        self._images = None

    def remove_hooks(self) -> None:
        """Takes the hook off the model."""
        self._stop()
        self._removed = True  # a call still explains what was seen

    def _listen(self) -> None:
        if not self._removed:
            self._handle = self.model.register_forward_pre_hook(_keeper(self), with_kwargs=True)

    def _stop(self) -> None:
        if self._handle is not None:
            self._handle.remove()
            self._handle = None


def largest(cams: Sequence[Tensor]) -> tuple[int, int]:
    """The largest height and the largest width of maps."""
    return max(cam.shape[-2] for cam in cams), max(cam.shape[-1] for cam in cams)


def _keeper(extractor: Extractor) -> Callable[..., None]:
    def keep(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if extractor._hooks_enabled:
            images = next(
                (value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)), None
            )
            extractor._images = None if images is None else images.detach().clone()

    return keep
