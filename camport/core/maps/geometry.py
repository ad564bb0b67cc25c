"""Where an image lies in a network's frame, as tensors: boxes in, maps out,
by one affine resampling that exports.

The twin of `camport.runtime.Placement`, which does the same at the edge;
tests/core/test_one_geometry.py holds the two equal. Coordinates are continuous, pixel i covers [i,
i+1): a point x of the image lies at `x * resized / image + origin` in the frame. A stretch has
origin 0, a letterbox a positive one (its padding), a centre crop a negative one.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Frame:
    """How an image was placed in a network's frame; sizes are (height, width), `origin` is (top,
    left).

    Attributes:
        image: size of the user's image.
        network: size of the network's input.
        resized: size the whole image has in the frame.
        origin: where the image's top left corner is in the frame; negative where it is cropped.
    """

    image: tuple[int, int]
    network: tuple[int, int]
    resized: tuple[int, int]
    origin: tuple[int, int] = (0, 0)

    def to_image(self, maps: Float[Tensor, "b h w"]) -> Float[Tensor, "b H W"]:
        """Maps that cover the frame, of any resolution, as maps of the image: bilinear,
        the border continued."""
        top, left = self.origin
        y = self._places(self.image[0], self.resized[0], self.network[0], top, maps)
        x = self._places(self.image[1], self.resized[1], self.network[1], left, maps)
        shape = (maps.shape[0], self.image[0], self.image[1])
        grid = torch.stack([x[None, None].expand(shape), y[None, :, None].expand(shape)], 3)
        found = F.grid_sample(
            maps[:, None], grid, mode="bilinear", padding_mode="border", align_corners=False
        )
        return found[:, 0]

    def to_network(self, boxes: Float[Tensor, "*n 4"]) -> Float[Tensor, "*n 4"]:
        """Boxes (left, top, right, bottom) of the image in the frame."""
        scale, offset = self._affine(boxes)
        return boxes * scale + offset

    def boxes_to_image(self, boxes: Float[Tensor, "*n 4"]) -> Float[Tensor, "*n 4"]:
        """The inverse; not clipped to the image."""
        scale, offset = self._affine(boxes)
        return (boxes - offset) / scale

    def _affine(self, like: Tensor) -> tuple[Tensor, Tensor]:
        (y, x), (top, left) = (
            (r / i for r, i in zip(self.resized, self.image, strict=True)),
            self.origin,
        )
        ones = torch.ones_like(like[..., :1])
        scale = torch.cat([ones * x, ones * y, ones * x, ones * y], -1)
        return scale, torch.cat([ones * left, ones * top, ones * left, ones * top], -1)

    @staticmethod
    def _places(image: int, resized: int, network: int, origin: int, like: Tensor) -> Tensor:
        """Of one axis, where each pixel's centre lies in the frame,
        from -1 to 1 as grid_sample counts."""
        pixel = (2 * torch.arange(image, device=like.device).to(like.dtype) + 1) / image - 1
        return pixel * (resized / network) + ((2 * origin + resized) / network - 1)
