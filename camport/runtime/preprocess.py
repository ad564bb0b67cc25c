"""From a picture to the network's input: the JSON in a graph's `camport.preprocess`, and what it does."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from camport.errors import InputError, UnknownNameError
from camport.runtime.image_file import MAX_PIXELS
from camport.runtime.image_file import open_image as open_image
from camport.runtime.placement import Placement as Placement

FITS = ("stretch", "crop", "letterbox")
FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


@dataclass(frozen=True)
class Preprocess:
    """How a network wants its images: `(pixels * scale - mean) / std`, after the image is brought to `size`.

    The default, for a graph that says nothing, scales to [0,1] and does nothing else: no resizing, no
    normalisation.

    Args:
        size: (height, width) of the network's input; None keeps each image's own size.
        fit: "stretch" resizes both sides; "crop" brings the shorter side to `resize`, then cuts the centre
            out; "letterbox" resizes by min(height ratio, width ratio) and pads evenly.
        resize: length of the shorter side before a crop; None: the larger of the two in `size`.
        interpolation: "bilinear" or "bicubic", antialiased (Pillow's).
        scale: factor on 8-bit pixel values.
        mean: subtracted from each channel, R, G, B.
        std: divides each channel.
        pad: grey of a letterbox's padding, 0 to 255.
        stride: a letterbox is padded no further than to the next multiple of this, at most to `size`: a rectangle with
            little padding, of another size for each shape of picture. None pads to `size`.
        in_graph: whether the graph does all this itself. What is left to do is nothing: it takes the pictures' pixels.

    Raises:
        InputError: a value of the wrong type or out of range.
        UnknownNameError: an unknown fit or interpolation.
    """

    size: tuple[int, int] | None = None
    fit: str = "stretch"
    resize: int | None = None
    interpolation: str = "bilinear"
    scale: float = 1 / 255
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    pad: int = 114
    in_graph: bool = False
    stride: int | None = None

    def __post_init__(self) -> None:
        if self.fit not in FITS:
            raise UnknownNameError("fit", self.fit, FITS)
        if self.interpolation not in FILTERS:
            raise UnknownNameError("interpolation", self.interpolation, FILTERS)
        if self.size is None and self.fit != "stretch":
            raise InputError(f"preprocess: fit {self.fit!r} needs a size, e.g. [224, 224]")
        if self.size is not None and min(self.size) < 1:
            raise InputError(f"preprocess: size is {list(self.size)}; both sides must be at least 1")
        if self.size is not None and self.size[0] * self.size[1] > MAX_PIXELS:
            raise InputError(f"preprocess: size {list(self.size)} is too large; at most {MAX_PIXELS} pixels will do")
        if self.stride is not None and (self.stride < 1 or self.fit != "letterbox"):
            raise InputError(f"preprocess: stride {self.stride} is for a letterbox, a number of pixels from 1")
        if self.resize is not None and self.fit == "crop" and self.size and self.resize < max(self.size):
            raise InputError(f"preprocess: resize {self.resize} is less than the crop {list(self.size)}")
        if not np.isfinite([self.scale, *self.mean, *self.std]).all():
            raise InputError(f"preprocess: scale {self.scale}, mean {self.mean}, std {self.std}: not finite")
        if not self.scale > 0:
            raise InputError(f"preprocess: scale is {self.scale}; it must be above 0, mostly 1/255")
        if not min(self.std) > 0:
            raise InputError(f"preprocess: std is {list(self.std)}; every value must be above 0")
        if not 0 <= self.pad <= 255:
            raise InputError(f"preprocess: pad is {self.pad}; a grey lies in 0 to 255")

    def to_json(self) -> str:
        """This as a JSON object; `from_json` restores it exactly."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Preprocess":
        """The inverse of `to_json`; keys left out have their defaults.

        Raises:
            InputError: no JSON object, or a value of the wrong type or out of range.
            UnknownNameError: an unknown key, fit or interpolation; the nearest is offered.
        """
        try:
            values = json.loads(text)
        except ValueError as error:
            raise InputError(f"preprocess is not JSON: {error}; it starts {text[:40]!r}") from None
        if not isinstance(values, Mapping):
            raise InputError(f"preprocess is a JSON {type(values).__name__}; it must be an object")
        checks = {field.name: _FIELDS[field.name] for field in dataclasses.fields(cls)}
        for key in values:
            if key not in checks:
                raise UnknownNameError("preprocess key", key, checks)
        return cls(**{key: _checked(key, value, *checks[key]) for key, value in values.items()})

    def place(self, image_size: tuple[int, int]) -> Placement:
        """Where an image of (height, width) lies in the network's frame.

        Raises:
            InputError: an image so long and narrow that it cannot be resized for the crop.
        """
        height, width = image_size
        if self.size is None:
            return Placement(image_size, image_size, image_size, (0, 0))
        if self.fit == "stretch":
            return Placement(image_size, self.size, self.size, (0, 0))
        frame = self.size
        if self.fit == "letterbox":
            ratio = min(self.size[0] / height, self.size[1] / width)
            resized = (max(1, round(height * ratio)), max(1, round(width * ratio)))
            if self.stride is not None:
                step = self.stride
                frame = (min(frame[0], -(-resized[0] // step) * step), min(frame[1], -(-resized[1] // step) * step))
        else:
            # the longer side is cut down, not rounded: torchvision's rule, so that crops agree to the pixel
            short, side = self.resize or max(self.size), min(height, width)
            resized = (short * height // side, short * width // side)
            if resized[0] * resized[1] > MAX_PIXELS:
                raise InputError(f"image of {height}x{width} is too narrow to crop: it would become {resized}")
        top, left = (round((n - r) / 2) for n, r in zip(frame, resized, strict=True))
        return Placement(image_size, frame, resized, (top, left))

    def apply(self, image: Image.Image) -> tuple[np.ndarray, Placement]:
        """The graph's input of one picture, and where the picture lies in the network's frame.

        That is float32 [3,H,W]; stack the arrays of several pictures to images [b,3,H,W]. Where the graph does the
        preprocessing, it is the picture itself, uint8 [h,w,3]: pictures of one size may share a batch.
        """
        image = image.convert("RGB")
        placement = self.place((image.height, image.width))
        if self.in_graph:
            return np.array(image), placement
        (height, width), (top, left) = placement.resized, placement.origin
        if (width, height) != image.size:
            # one axis after the other, since versions of Pillow differ in which comes first, and so by a grey level
            image = image.resize((width, image.height), FILTERS[self.interpolation])
            image = image.resize((width, height), FILTERS[self.interpolation])
        if placement.network != placement.resized:
            frame = Image.new("RGB", placement.network[::-1], (self.pad,) * 3)
            frame.paste(image, (left, top))
            image = frame
        pixels = np.asarray(image, dtype=np.float32) * np.float32(self.scale)
        normal = (pixels - np.asarray(self.mean, np.float32)) / np.asarray(self.std, np.float32)
        return np.ascontiguousarray(normal.transpose(2, 0, 1)), placement


_BOOL: tuple[type, ...] = (bool,)
_INT: tuple[type, ...] = (int,)
_NUMBER: tuple[type, ...] = (int, float)
# key -> element types, length of a list (0: no list), whether null is allowed
_FIELDS: dict[str, tuple[tuple[type, ...], int, bool]] = {
    "size": (_INT, 2, True),
    "fit": ((str,), 0, False),
    "resize": (_INT, 0, True),
    "interpolation": ((str,), 0, False),
    "scale": (_NUMBER, 0, False),
    "mean": (_NUMBER, 3, False),
    "std": (_NUMBER, 3, False),
    "pad": (_INT, 0, False),
    "in_graph": (_BOOL, 0, False),
    "stride": (_INT, 0, True),
}


def _checked(key: str, value: Any, types: tuple[type, ...], length: int, null: bool) -> Any:
    """`value` as the field's type, lists as tuples."""
    if value is None and null:
        return None
    items = value if length else [value]
    if (
        not isinstance(items, list)
        or (length and len(items) != length)
        or any(not isinstance(item, types) or (isinstance(item, bool) and types is not _BOOL) for item in items)
    ):
        kind = {_INT: "integer", _NUMBER: "number", _BOOL: "truth value"}.get(types, "text")
        wanted = f"a list of {length} {kind}s" if length else f"one {kind}"
        raise InputError(f"preprocess: {key} is {value!r}; it must be {wanted}{' or null' if null else ''}")
    cast = [float(item) for item in items] if types is _NUMBER else items
    return tuple(cast) if length else cast[0]
