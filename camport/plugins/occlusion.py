"""Occlusion sensitivity."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from camport.core.explainer import Explainer
from camport.core.maps.baseline import Baseline, baseline, check_baseline, check_fits
from camport.core.probe import Probe
from camport.errors import InputError


@dataclass(frozen=True)
class Occlusion(Explainer):
    r"""Occlusion: how far the score falls where a patch covers the image.

    .. math:: M_{ij} = \frac{1}{|P_{ij}|} \sum_{p \in P_{ij}} \big( y^c(x) - y^c(x_{\setminus p})
    \big)

    with P_ij the patches that cover the pixel. Zeiler and Fergus 2014, arXiv 1311.2901, section 4.2
    (in words). The model is seen from outside: no layer, no gradient.

    Deviation: the paper shows the score at each patch's place; the mean over the patches covering a
    pixel is what brings patches of any stride to the image's resolution. Patches begin at every
    stride until the image is covered, the last ones cut off at its edge.

    Map: [b,H,W] of the images, signed.
    Cost: `1 + patches` forward passes.

    Args:
        patch: height and width of the patch in pixels; None is a seventh of the image's.
        stride: down and to the right in pixels; None is half of the patch.
        fill: what covers the image, as the model takes its images: a value of all pixels, 0 being
            black, or the mean colour (the paper's grey) where images are normalised; a value a
            channel; a tensor [c,H,W]; "blurred", each image's Gaussian blur, or "mean", its mean
            colour.
    """

    name: ClassVar[str] = "occlusion"
    title: ClassVar[str] = "Occlusion"
    paper: ClassVar[str] = "1311.2901"
    family: ClassVar[str] = "perturbation"
    needs_gradients: ClassVar[bool] = False
    needs_layer: ClassVar[bool] = False

    patch: tuple[int, int] | None = None
    stride: tuple[int, int] | None = None
    fill: Baseline = 0.0

    def __post_init__(self) -> None:
        check_baseline(self.fill, "fill")
        for what, given in (("patch", self.patch), ("stride", self.stride)):
            if given is not None and (len(given) != 2 or min(given) < 1):
                raise InputError(f"{what} is {given}; wanted height and width, each 1 or more")
        if (
            self.patch
            and self.stride
            and (self.stride[0] > self.patch[0] or self.stride[1] > self.patch[1])
        ):
            raise InputError(
                f"stride {self.stride} is more than the patch {self.patch}: pixels between are"
                " never covered"
            )

    def saliency(self, probe: Probe) -> Float[Tensor, "b H W"]:
        """The mean fall of y over the patches that cover a pixel."""
        images = probe.images
        fill = baseline(self.fill, images)
        rows, columns = (self._patches(images, axis) for axis in (0, 1))
        codes = [rows.repeat_interleave(columns.shape[0], 0), columns.repeat(rows.shape[0], 1)]

        def step(down: Tensor, across: Tensor) -> Tensor:
            covered = (down[:, :, None] * across[:, None, :])[:, None]
            seen = torch.where(covered[:, :, None] > 0, fill, images)
            return (probe.y - probe.score(seen))[:, :, None, None] * covered

        covers = rows.sum(0)[:, None] * columns.sum(0)
        return probe.total(codes, step) / covers

    def check(self, probe: Probe) -> None:
        """InputError for a patch that is larger than the images,
        or a fill that does not fit them."""
        check_fits(self.fill, probe.images, "fill")
        height, width = probe.images.shape[-2:]
        if self.patch and (self.patch[0] > height or self.patch[1] > width):
            raise InputError(
                f"patch {self.patch} is larger than the images, which are {height}x{width}"
            )

    def _patches(self, images: Float[Tensor, "b c H W"], axis: int) -> Float[Tensor, "r n"]:
        """Which of the n rows (or columns) each of the patches covers, 1 or 0."""
        pixels = images.shape[2 + axis]
        patch = self.patch[axis] if self.patch else -(-pixels // 7)
        stride = min(self.stride[axis], patch) if self.stride else -(-patch // 2)
        first = (
            torch.arange(0, -(-(pixels - patch) // stride) + 1, device=images.device)[:, None]
            * stride
        )
        pixel = torch.arange(pixels, device=images.device)
        return ((pixel >= first) & (pixel < first + patch)).to(images.dtype)
