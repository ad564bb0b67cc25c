"""grad-cam's targets, one callable an image, as what is explained."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from camport.compat.pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from camport.core import Adapter, Grid, find_grid
from camport.errors import InputError, ModelError

Target = Callable[[Any], Tensor]
"""What the model says of one image, without the axis of the batch,
to the number that is explained."""
Reshape = Callable[[Tensor], Tensor]
"""A layer's output as [b,c,h,w]."""


@dataclass(frozen=True)
class TargetsAdapter(Adapter):
    """y of image i is `targets[i](outputs[i])`;
    without targets it is the largest output of each image.

    Args:
        targets: one an image.
        reshape_transform: how layers' outputs lie on the image; None reads it from the model.
    """

    name: ClassVar[str] = "targets"
    title: ClassVar[str] = "grad-cam's targets, a callable an image"

    targets: tuple[Target, ...] | None = None
    reshape_transform: Reshape | None = None

    @property
    def inputs(self) -> tuple[str, ...]:
        """The number of each image's target, or its class where there are none."""
        return ("category",) if self.targets is None else ("row",)

    def prepare(self, target: Any, images: Float[Tensor, "b c H W"]) -> dict[str, Tensor]:
        """InputError where there is not one target an image."""
        b, device = images.shape[0], images.device
        if self.targets is None:
            if target is not None:
                _check_number(len(target), b)
            return {"category": torch.full((b,), -1, device=device) if target is None else target}
        _check_number(len(self.targets), b)
        return {"row": torch.arange(b, device=device)}

    def check(self, outputs: Any, target: Mapping[str, Tensor]) -> None:
        """ModelError where a target cannot read the outputs, or gives no number."""
        if self.targets is None:
            k, highest = _classes(outputs).shape[1], int(target["category"].max())
            if highest >= k:
                raise InputError(
                    f"class {highest} is out of range: the model has {k} classes (0..{k - 1})"
                )
            return
        try:
            y = self.score(outputs, self.resolve(outputs, target))
        except (RuntimeError, ValueError, TypeError, IndexError, KeyError, AttributeError) as error:
            shown = (
                f"{tuple(outputs.shape)}" if isinstance(outputs, Tensor) else type(outputs).__name__
            )
            raise ModelError(
                f"a target failed on the model's outputs, {shown}: {type(error).__name__}: {error};"
                " a target takes what the model says of one image"
            ) from error
        if not y.is_floating_point():
            raise ModelError(f"targets give {y.dtype}; wanted floating-point numbers")

    def resolve(self, outputs: Any, target: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """-1 becomes the top class."""
        if self.targets is not None:
            return dict(target)
        return {
            "category": torch.where(
                target["category"] < 0, _classes(outputs).argmax(-1), target["category"]
            )
        }

    def score(self, outputs: Any, target: Mapping[str, Tensor]) -> Float[Tensor, " b"]:
        """What each image's target says."""
        if self.targets is None:
            return _classes(outputs).gather(1, target["category"][:, None])[:, 0]
        rows = target["row"].tolist()
        return torch.stack(
            [
                _number(self.targets[k], _of_image(outputs, i, len(rows)), k)
                for i, k in enumerate(rows)
            ]
        )

    def probability(self, outputs: Any, target: Mapping[str, Tensor]) -> Float[Tensor, " b"]:
        """Of classes their softmax, which Score-CAM's paper weighs by;
        of other targets the score."""
        if self.targets is None:
            return _classes(outputs).softmax(1).gather(1, target["category"][:, None])[:, 0]
        return self.score(outputs, target)

    def explained(self, target: Mapping[str, Tensor]) -> Tensor:
        """The classes, or the targets' numbers."""
        return target[self.inputs[0]]

    def grid(
        self, activation: Tensor, image_size: Any, model: nn.Module, module: nn.Module, name: str
    ) -> Grid:
        """As `reshape_transform` lays it, or as read from the model."""
        if self.reshape_transform is None:
            return find_grid(activation, image_size, model, module, name)
        return laid_by(self.reshape_transform, activation, name)

    def options(self) -> dict[str, Any]:
        """The targets by their classes."""
        return {
            "targets": (
                None if self.targets is None else [type(target).__name__ for target in self.targets]
            )
        }

    def of(self, targets: Any) -> TargetsAdapter:
        """The same about other targets; InputError where they are no callables."""
        if targets is not None and not (
            isinstance(targets, list | tuple) and all(map(callable, targets))
        ):
            raise InputError(
                f"targets is {repr(targets)[:80]}; give a list with a callable an image, e.g. "
                "[ClassifierOutputTarget(281)], or None for each image's top class"
            )
        return dataclasses.replace(self, targets=None if targets is None else tuple(targets))

    def classes(self, device: torch.device) -> Tensor | None:
        """int64 [b], where the targets are classes and nothing else;
        as a tensor they need no binding of their own."""
        if self.targets is None or not all(
            type(target) is ClassifierOutputTarget for target in self.targets
        ):
            return None
        found = torch.as_tensor([int(target.category) for target in self.targets], device=device)  # type: ignore[attr-defined]
        return found if bool((found >= 0).all()) else None


def _check_number(targets: int, images: int) -> None:
    if targets != images:
        raise InputError(
            f"{targets} target{'s' * (targets != 1)} for {images} image{'s' * (images != 1)}; give"
            " one an image, or None for each image's top class"
        )


def laid_by(reshape: Reshape, activation: Tensor, name: str) -> Grid:
    """The grid that a reshape transform lays a layer's output on,
    told by where it puts numbered values.

    Raises:
        InputError: it fails on this output, or does more than arrange it.
    """
    numbered = torch.arange(activation[:1].numel(), dtype=torch.float64).reshape(
        1, *activation.shape[1:]
    )
    try:
        maps = reshape(numbered)
    except Exception as error:
        raise InputError(
            f"reshape_transform fails on what layer {name!r} puts out, {tuple(activation.shape)}: "
            f"{type(error).__name__}: {error}; leave it out, and the grid is read from the model"
        ) from error
    grids = [Grid("nchw"), Grid("nhwc")]
    if activation.dim() == 3 and isinstance(maps, Tensor) and maps.dim() == 4:
        h, w = maps.shape[2:]
        prefix = int(maps.flatten()[0]) // activation.shape[2]
        grids = [Grid("tokens", prefix, (h, w), activation.shape[1] - prefix - h * w)]
    for grid in grids:
        if (
            isinstance(maps, Tensor)
            and maps.dim() == 4
            and torch.equal(grid.to_maps(numbered), maps)
        ):
            return grid
    raise InputError(
        f"reshape_transform does more than arrange what layer {name!r} puts out,"
        f" {tuple(activation.shape)}, as [b,c,h,w]; leave it out, and the grid is read from the"
        " model"
    )


def _classes(outputs: Any) -> Float[Tensor, "b k"]:
    """The classes' scores: the outputs, or the first tensor in them."""
    first = next(
        (v for v in tree_leaves(outputs) if isinstance(v, Tensor) and v.is_floating_point()), None
    )
    if first is None or first.dim() != 2:
        shown = type(outputs).__name__ if first is None else f"a first tensor {tuple(first.shape)}"
        raise ModelError(
            f"the model returned {shown}; without targets a class is explained of [b,k]: give"
            " targets"
        )
    return first


def _of_image(outputs: Any, i: int, images: int) -> Any:
    """What the outputs say of image i."""
    if isinstance(outputs, Tensor) or (isinstance(outputs, list) and len(outputs) == images):
        return outputs[i]
    return tree_map(lambda value: value[i], outputs)


def _number(target: Target, output: Any, row: int) -> Tensor:
    y = target(output)
    if not isinstance(y, Tensor) or y.numel() != 1:
        shown = f"{tuple(y.shape)}" if isinstance(y, Tensor) else type(y).__name__
        raise InputError(f"target {row} gives {shown} of an image; wanted one number, e.g. its sum")
    return y.reshape(())
