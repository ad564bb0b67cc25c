"""Where an image lies in the network's frame: one scale and one offset an axis, for maps and boxes,
both ways.

Coordinates are continuous, pixel i covers [i, i+1) and its centre is i + 0.5 (align_corners=False).
A point x of the image lies at `x * resized / image + origin` in the network's frame. A stretch has
origin 0, a letterbox a positive one (the padding), a centre crop a negative one. The twin in
PyTorch, which exports, is `camport.core.maps.geometry.Frame`;
tests/core/test_one_geometry.py holds the two equal.
"""

from dataclasses import dataclass

import numpy as np

from camport.errors import InputError


@dataclass(frozen=True)
class Placement:
    """How one image was placed in the network's frame; sizes are (height, width),
    `origin` is (top, left).

    Args:
        image: size of the user's image.
        network: size of the network's input.
        resized: size the whole image has in the network's frame.
        origin: where the image's top left corner is in the network's frame; negative where it is
            cropped.
    """

    image: tuple[int, int]
    network: tuple[int, int]
    resized: tuple[int, int]
    origin: tuple[int, int]

    def to_image(self, heatmap: np.ndarray) -> np.ndarray:
        """A heatmap [H,W] at network size as float32 [h,w] at the image's size.

        Bilinear, with a wider kernel where it shrinks, as Pillow does. Padding is cut away before
        it could bleed in; what the network did not see is 0. Values in [0,1] stay there.

        Raises:
            InputError: the map is not [H,W] of the network's size.
        """
        heatmap = np.asarray(heatmap)
        if heatmap.shape != self.network:
            raise InputError(
                f"heatmap is {list(heatmap.shape)}, but the network's input is"
                f" {list(self.network)}: give one map [H,W] of one image, e.g. result.heatmap[0]"
            )
        rows, columns = (self._weights(axis) for axis in (0, 1))
        return np.asarray(rows @ heatmap.astype(np.float32) @ columns.T, dtype=np.float32)

    @property
    def seen(self) -> tuple[float, float, float, float] | None:
        """What the network saw of the image, xyxy in its pixels, where a crop leaves some of it
        out; None: all of it."""
        frame = zip(self.origin, self.resized, self.network, strict=True)
        if all(origin >= 0 and origin + resized <= network for origin, resized, network in frame):
            return None
        (height, width), (rows, columns) = self.image, self.network
        corners = self.boxes_to_image(np.array([[0, 0, columns, rows]]))[0]
        left, top, right, bottom = np.clip(corners, 0, [width, height] * 2).tolist()
        return left, top, right, bottom

    def boxes_to_network(self, boxes: np.ndarray) -> np.ndarray:
        """Boxes [n,4] xyxy in image pixels as float32 [n,4] in network pixels."""
        scale, offset = self._box_affine()
        return np.asarray(np.asarray(boxes, dtype=np.float64) * scale + offset, dtype=np.float32)

    def boxes_to_image(self, boxes: np.ndarray) -> np.ndarray:
        """Boxes [n,4] xyxy in network pixels as float32 [n,4] in image pixels,
        not clipped to the image."""
        scale, offset = self._box_affine()
        return np.asarray((np.asarray(boxes, dtype=np.float64) - offset) / scale, dtype=np.float32)

    def _box_affine(self) -> tuple[np.ndarray, np.ndarray]:
        """Scale and offset [4] in the order x, y, x, y."""
        scale_y, scale_x = (r / i for r, i in zip(self.resized, self.image, strict=True))
        top, left = self.origin
        return np.array([scale_x, scale_y] * 2), np.array([left, top] * 2)

    def _weights(self, axis: int) -> np.ndarray:
        """Resampling matrix [image size, network size] of one axis: a triangle kernel;
        rows sum to 1 or 0."""
        image, network = self.image[axis], self.network[axis]
        resized, origin = self.resized[axis], self.origin[axis]
        scale = resized / image
        low, high = max(0, origin), min(network, origin + resized)
        centres = (np.arange(image) + 0.5) * scale + origin
        taps = np.arange(network) + 0.5
        weights = 1 - np.abs(centres[:, None] - taps) / max(1.0, scale)
        weights[(weights < 0) | (taps < low) | (taps > high)] = 0
        weights[(centres < low) | (centres > high)] = 0
        total = weights.sum(axis=1, keepdims=True)
        return np.asarray(np.divide(weights, total, out=weights, where=total > 0), dtype=np.float32)
