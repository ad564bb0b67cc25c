"""Images that are kept where the network looks and blurred elsewhere, as a batch transform."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.utils.data import get_worker_info
from torchvision import tv_tensors
from torchvision.transforms import v2

from camport.core.bind import bind
from camport.core.bound import Bound
from camport.core.explainer import Explainer
from camport.core.maps.baseline import KERNEL, SIGMA, blur
from camport.core.running.layers import Layers
from camport.errors import FlatMapWarning, InputError, silenced
from camport.plugins.groupcam import GroupCAM

GROUPS = 16


class ExplanationAugmentation(v2.Transform):
    r"""Keeps of each image what the network looks at for its label, and blurs the rest.

    .. math:: \hat x = x \odot m + \tilde x \odot (1 - m), \quad m = [M \ge \mathrm{mean}(M)]

    with M the heatmap of the label at the images' resolution, each map against its own mean, and
    the blurred image x~. Zhang et al. 2021 (Group-CAM), arXiv 2103.13859, section 5: M is
    Group-CAM's with 16 groups, without gradient weights and without de-noising, which is what a
    model without a method gets here.

    Deviations: the published program has x * m + x~ + (1 - m), which is brighter than any image;
    this is the formula. It compares with the mean over the batch, so that what one image becomes
    depends on the others; here each map has its own. Its maps have gradient weights and de-noising.
    An image whose map is flat stays as it is.

    It takes batches, as torchvision's MixUp and CutMix do: `images, labels = augment(images,
    labels)` in the training loop, or in a `v2.Compose` or `v2.RandomApply` of such. The model is
    explained as it is at that moment, in evaluation mode, in full precision also under autocast;
    its mode, statistics, gradients, hooks and PyTorch's random state stay as they were, and no
    gradient flows into the images.

    With a `DataLoader` of several workers it belongs behind the loader, in the process that trains.
    A worker has the weights of when it was started: there a model that can be trained is refused,
    unless its memory is shared (`model.share_memory()`); one that is frozen is explained there, in
    `collate_fn`, as rightly as anywhere.

    Args:
        model: the network that is trained, or a method bound to any network by `camport.bind`.
        method: a name from `camport.methods()`, or an Explainer; for a model.
        layer: of a model, as `camport.bind` takes it; None: chosen at the first batch.
        kernel: width of the blur's kernel in pixels, odd.
        sigma: the blur's standard deviation in pixels.

    Raises:
        InputError: a method or a layer beside a bound method; a kernel that is even or a sigma that
            is not positive.
    """

    def __init__(
        self,
        model: nn.Module | Bound,
        method: str | type[Explainer] | Explainer | None = None,
        layer: Layers | None = None,
        *,
        kernel: int = KERNEL,
        sigma: float = SIGMA,
    ) -> None:
        super().__init__()
        if kernel < 1 or kernel % 2 == 0 or sigma <= 0:
            raise InputError(
                f"kernel is {kernel} and sigma {sigma}; wanted an odd width and a positive number"
            )
        if not isinstance(model, Bound):
            model = bind(
                model, method or GroupCAM(GROUPS, theta=0.0, gradient_weights=False), layer
            )
        elif method is not None or layer is not None:
            raise InputError(
                f"{model!r} has its method and layer; give them to camport.bind, or a model here"
            )
        self.bound, self.kernel, self.sigma = model, kernel, sigma

    def forward(self, *inputs: Any) -> Any:
        """The batch, augmented.

        Args:
            inputs: images [b,c,H,W] floating point, as the model wants them, and labels: int64 [b],
                or [b,k] with a value for each class as MixUp makes them, of which the largest is
                explained. One pair, or two arguments.

        Returns:
            Images of the same type, and the labels.

        Raises:
            InputError: no pair of images and labels; labels of several classes of which none is
                largest; a worker's copy of a model that is trained.
        """
        pair = inputs[0] if len(inputs) == 1 else inputs
        if (
            not isinstance(pair, tuple | list)
            or len(pair) != 2
            or not all(isinstance(v, Tensor) for v in pair)
        ):
            raise InputError(
                f"{type(self).__name__} was given {_kinds(pair)}; wanted images [b,c,H,W] and"
                " labels [b]"
            )
        images, labels = pair
        plain = images.detach().as_subclass(Tensor)  # tv_tensors.Image is given back at the end
        mask = self.mask(plain, labels)[:, None]
        found = torch.where(mask, plain, blur(plain, self.kernel, self.sigma))
        if isinstance(images, tv_tensors.TVTensor):
            found = tv_tensors.wrap(found, like=images)
        return found, labels

    def mask(self, images: Float[Tensor, "b c H W"], labels: Tensor) -> Bool[Tensor, "b H W"]:
        """Where each map is at its mean or above."""
        check_process(self.bound.model)
        with torch.autocast(images.device.type, enabled=False), silenced(FlatMapWarning):
            # maps come and go while weights move, and a flat one leaves its image alone
            heatmap = self.bound(images, classes(labels)).heatmap
        return heatmap >= heatmap.mean((1, 2), keepdim=True)

    def extra_repr(self) -> str:
        """What explains, and the blur."""
        return f"{self.bound!r}, kernel={self.kernel}, sigma={self.sigma}"


def classes(labels: Tensor) -> Tensor:
    """The class to explain of each image: labels [b] as they are, of [b,k] the largest of a row.

    Raises:
        InputError: a row with several largest values, or with one value.
    """
    if labels.dim() != 2:
        return labels
    if labels.shape[1] == 1:
        raise InputError(
            f"labels have shape {tuple(labels.shape)}; wanted classes [b]: labels[:, 0]"
        )
    values = labels.detach().float()
    several = (values == values.amax(1, keepdim=True)).sum(1) > 1
    if bool(several.any()):
        row = int(several.nonzero()[0])
        raise InputError(
            f"labels {tuple(labels.shape)}: row {row} has its largest value"
            f" {float(values[row].max()):g} in several classes; give the class to explain of each"
            " image as int64 [b]"
        )
    return values.argmax(1)


def check_process(model: nn.Module) -> None:
    """InputError in a DataLoader's worker whose copy of the model does not follow the training."""
    if get_worker_info() is None:
        return
    stale = [name for name, p in model.named_parameters() if p.requires_grad and not p.is_shared()]
    if stale:
        raise InputError(
            f"a DataLoader's worker has the weights of when it was started, and {stale[0]!r} is"
            " trained; augment the batches that the loader gives, in the training loop, or call"
            " model.share_memory() first"
        )


def _kinds(value: Any) -> str:
    if isinstance(value, tuple | list):
        return (
            f"{len(value)} values of {', '.join(type(v).__name__ for v in value)}"
            if value
            else "nothing"
        )
    return type(value).__name__
