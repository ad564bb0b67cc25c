"""From a picture to the network's input: the JSON in a graph's `camport.preprocess`,
and what it does.

The twin as a graph is `camport.export.onnx_file.preprocessing`;
tests/export/test_prepare.py holds the two equal.
"""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from camport.errors import InputError, UnknownNameError, guarded
from camport.runtime.bands import bands_of, channels_first, planes_of
from camport.runtime.image_file import MAX_PIXELS
from camport.runtime.image_file import open_image as open_image
from camport.runtime.placement import Placement as Placement

FITS = ("stretch", "crop", "letterbox")
LEAST = 1e-30
"""Of a std; what is divided by less is not finite in float32."""
FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


@dataclass(frozen=True)
class Preprocess:
    """How a network wants its images: `(pixels * scale - mean) / std`,
    after the image is brought to `size`.

    The default, for a graph that says nothing, scales to [0,1] and does nothing else: no resizing,
    no normalisation.

    It has as many channels as `mean` and `std` have values. For one a picture is made grey; for
    another number than 1 and 3 the image is an array [c,H,W], whose floating-point values are taken
    as they are, without `scale`.

    Args:
        size: (height, width) of the network's input; None keeps each image's own size.
        fit: "stretch" resizes both sides; "crop" brings the shorter side to `resize`, then cuts the
            centre out; "letterbox" resizes by min(height ratio, width ratio) and pads evenly, an
            odd row or column below or at the right, as YOLO packages do.
        resize: length of the shorter side before a crop; None: the larger of the two in `size`.
        interpolation: "bilinear" or "bicubic", antialiased (Pillow's).
        scale: factor on 8-bit pixel values.
        mean: subtracted from each channel: R, G, B, or one grey, or one value a channel of an
            array.
        std: divides each channel.
        pad: grey of a letterbox's padding, 0 to 255.
        stride: a letterbox is padded no further than to the next multiple of this, at most to
            `size`: a rectangle with little padding, of another size for each shape of picture. None
            pads to `size`.
        in_graph: whether the graph does all this itself. What is left to do is nothing: it takes
            the pictures' pixels.
        side: (height, None) or (None, width), where the network has one side fixed and the other
            free: the image is resized to that side and keeps its shape. For no `size`.

    Raises:
        InputError: a value of the wrong type or out of range.
        UnknownNameError: an unknown fit or interpolation.
    """

    size: tuple[int, int] | None = None
    fit: str = "stretch"
    resize: int | None = None
    interpolation: str = "bilinear"
    scale: float = 1 / 255
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    pad: int = 114
    in_graph: bool = False
    stride: int | None = None
    side: tuple[int | None, int | None] | None = None

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std):
            # one of the two was given, for other channels than R, G, B
            if self.std == (1.0, 1.0, 1.0):
                object.__setattr__(self, "std", (1.0,) * len(self.mean))
            elif self.mean == (0.0, 0.0, 0.0):
                object.__setattr__(self, "mean", (0.0,) * len(self.std))
            else:
                raise InputError(
                    f"preprocess: mean has {len(self.mean)} values and std {len(self.std)}; one a"
                    " channel"
                )
        if not self.mean:
            raise InputError("preprocess: mean and std are empty; give one value a channel")
        if self.fit not in FITS:
            raise UnknownNameError("fit", self.fit, FITS)
        if self.interpolation not in FILTERS:
            raise UnknownNameError("interpolation", self.interpolation, FILTERS)
        if self.size is None and self.fit != "stretch":
            raise InputError(f"preprocess: fit {self.fit!r} needs a size, e.g. [224, 224]")
        if self.size is not None and min(self.size) < 1:
            raise InputError(
                f"preprocess: size is {list(self.size)}; both sides must be at least 1"
            )
        if self.size is not None and self.size[0] * self.size[1] > MAX_PIXELS:
            raise InputError(
                f"preprocess: size {list(self.size)} is too large; at most {MAX_PIXELS} pixels"
                " will do"
            )
        if self.stride is not None and (self.stride < 1 or self.fit != "letterbox"):
            raise InputError(
                f"preprocess: stride {self.stride} is for a letterbox, a number of pixels from 1"
            )
        if (
            self.resize is not None
            and self.fit == "crop"
            and self.size
            and self.resize < max(self.size)
        ):
            raise InputError(
                f"preprocess: resize {self.resize} is less than the crop {list(self.size)}"
            )
        if self.side is not None and (
            self.size is not None or [n is None for n in self.side].count(True) != 1
        ):
            raise InputError(
                f"preprocess: side {list(self.side)} is [height, null] or [null, width], without a"
                " size"
            )
        if self.side is not None and min(n for n in self.side if n is not None) < 1:
            raise InputError(f"preprocess: side is {list(self.side)}; it must be at least 1")
        with np.errstate(over="ignore", under="ignore"):
            finite = np.isfinite(np.asarray([self.scale, *self.mean, *self.std], np.float32)).all()
        if not finite:
            raise InputError(
                f"preprocess: scale {self.scale}, mean {self.mean}, std {self.std}: not finite in"
                " float32"
            )
        if not self.scale > 0:
            raise InputError(f"preprocess: scale is {self.scale}; it must be above 0, mostly 1/255")
        if not min(self.std) > LEAST:
            raise InputError(
                f"preprocess: std is {list(self.std)}; every value must be above 0, at least"
                f" {LEAST:g}"
            )
        if self.resize is not None and self.resize < 1:
            raise InputError(f"preprocess: resize is {self.resize}; it must be at least 1")
        if not 0 <= self.pad <= 255:
            raise InputError(f"preprocess: pad is {self.pad}; a grey lies in 0 to 255")

    @property
    def channels(self) -> int:
        """How many channels the network takes."""
        return len(self.mean)

    def with_channels(self, count: int) -> "Preprocess":
        """The same for `count` channels.

        Raises:
            InputError: mean and std say something, of another number of channels.
        """
        if count == self.channels:
            return self
        if any(self.mean) or any(value != 1 for value in self.std):
            raise InputError(
                f"preprocess: mean and std have {self.channels} values, and the network takes"
                f" {count} channels"
            )
        return dataclasses.replace(self, mean=(0.0,) * count, std=(1.0,) * count)

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
        with guarded("preprocess is not JSON", remedy=f"it starts {text[:40]!r}"):
            values = json.loads(text)
        if not isinstance(values, Mapping):
            raise InputError(f"preprocess is a JSON {type(values).__name__}; it must be an object")
        checks = {field.name: _FIELDS[field.name] for field in dataclasses.fields(cls)}
        for key in values:
            if key not in checks:
                raise UnknownNameError("preprocess key", key, checks)
        with guarded("preprocess", remedy=f"it starts {text[:40]!r}"):
            return cls(**{key: _checked(key, value, *checks[key]) for key, value in values.items()})

    def place(self, image_size: tuple[int, int]) -> Placement:
        """Where an image of (height, width) lies in the network's frame.

        Raises:
            InputError: an image so long and narrow that it cannot be resized for the crop.
        """
        height, width = image_size
        if self.size is None:
            resized = image_size if self.side is None else _along(self.side, image_size)
            return Placement(image_size, resized, resized, (0, 0))
        if self.fit == "stretch":
            return Placement(image_size, self.size, self.size, (0, 0))
        frame = self.size
        if self.fit == "letterbox":
            ratio = min(self.size[0] / height, self.size[1] / width)
            resized = (max(1, round(height * ratio)), max(1, round(width * ratio)))
            if self.stride is not None:
                step = self.stride
                frame = (
                    min(frame[0], -(-resized[0] // step) * step),
                    min(frame[1], -(-resized[1] // step) * step),
                )
        else:
            # the longer side is cut down, not rounded: torchvision's rule,
            # so that crops agree to the pixel
            short, side = self.resize or max(self.size), min(height, width)
            resized = (short * height // side, short * width // side)
            if resized[0] * resized[1] > MAX_PIXELS:
                raise InputError(
                    f"image of {height}x{width} is too narrow to crop: it would become {resized}"
                )
        spare = [n - r for n, r in zip(frame, resized, strict=True)]
        # of an odd rest YOLO packages put the larger half behind;
        # torchvision cuts a centre out as Python rounds
        top, left = (n // 2 if self.fit == "letterbox" else round(n / 2) for n in spare)
        return Placement(image_size, frame, resized, (top, left))

    def apply(self, image: Image.Image | np.ndarray) -> tuple[np.ndarray, Placement]:
        """The graph's input of one picture, and where the picture lies in the network's frame.

        That is float32 [c,H,W]; stack the arrays of several pictures to images [b,c,H,W]. Where the
        graph does the preprocessing, it is the picture itself, uint8 [h,w,c]: pictures of one size
        may share a batch.

        Args:
            image: a picture, or an array [c,H,W]; of a picture that `open_image` made of an array
                file, the array. An array of bytes whose last axis is the network's channels and
                whose first is not is a picture's, uint8 [h,w,c], in the order of Pillow and of cv2;
                its colours are R, G, B, those of cv2 B, G, R and so turned by the caller:
                `array[..., ::-1]`.

        Raises:
            InputError: neither picture nor array, an array of other channels, or a picture for a
                network that takes neither 1 nor 3.
        """
        if not isinstance(image, np.ndarray | Image.Image):
            raise InputError(
                f"image is {type(image).__name__}; give one picture (open_image(path)) or one array"
                " [c,H,W], and stack the results of several"
            )
        bands = (
            channels_first(image, self.channels)
            if isinstance(image, np.ndarray)
            else bands_of(image)
        )
        planes = planes_of(image, bands, self.channels)
        placement = self.place((planes[0].height, planes[0].width))
        if self.in_graph:
            if planes[0].mode == "F":
                raise InputError(
                    "the file takes pictures, uint8 [h,w,c], and the array is of floating-point"
                    " numbers"
                )
            return np.stack([np.array(plane) for plane in planes], 2), placement
        whole = planes[0].mode != "F"
        grey = self.pad if whole else self.pad * self.scale
        pixels = np.stack([self._placed(plane, placement, grey) for plane in planes], 2)
        pixels = pixels * np.float32(self.scale) if whole else pixels
        normal = (pixels - np.asarray(self.mean, np.float32)) / np.asarray(self.std, np.float32)
        return np.ascontiguousarray(normal.transpose(2, 0, 1)), placement

    def _placed(self, plane: Image.Image, placement: Placement, grey: float) -> np.ndarray:
        """One channel, resized and laid in the network's frame, float32 [H,W]."""
        (height, width), (top, left) = placement.resized, placement.origin
        if (width, height) != plane.size:
            # one axis after the other, since versions of Pillow differ in which comes first,
            # and so by a grey level
            plane = plane.resize((width, plane.height), FILTERS[self.interpolation])
            plane = plane.resize((width, height), FILTERS[self.interpolation])
        if placement.network != placement.resized:
            frame = Image.new(plane.mode, placement.network[::-1], grey)
            frame.paste(plane, (left, top))
            plane = frame
        return np.asarray(plane, dtype=np.float32)


def _along(side: tuple[int | None, int | None], image_size: tuple[int, int]) -> tuple[int, int]:
    """The size of an image brought to one fixed side, in its own shape."""
    (height, width), (fixed_height, fixed_width) = image_size, side
    if fixed_height is not None:
        sized = (fixed_height, max(1, round(width * fixed_height / height)))
    else:
        assert fixed_width is not None
        sized = (max(1, round(height * fixed_width / width)), fixed_width)
    if sized[0] * sized[1] > MAX_PIXELS:
        raise InputError(f"image of {height}x{width} is too long: it would become {sized}")
    return sized


_BOOL: tuple[type, ...] = (bool,)
_INT: tuple[type, ...] = (int,)
_NUMBER: tuple[type, ...] = (int, float)
# key -> element types, length of a list (0: no list, -1: any), whether null is allowed
_FIELDS: dict[str, tuple[tuple[type, ...], int, bool]] = {
    "size": (_INT, 2, True),
    "fit": ((str,), 0, False),
    "resize": (_INT, 0, True),
    "interpolation": ((str,), 0, False),
    "scale": (_NUMBER, 0, False),
    "mean": (_NUMBER, -1, False),
    "std": (_NUMBER, -1, False),
    "pad": (_INT, 0, False),
    "in_graph": (_BOOL, 0, False),
    "stride": (_INT, 0, True),
    "side": ((int, type(None)), 2, True),
}


def _checked(key: str, value: Any, types: tuple[type, ...], length: int, null: bool) -> Any:
    """`value` as the field's type, lists as tuples."""
    if value is None and null:
        return None
    items = value if length else [value]
    if (
        not isinstance(items, list)
        or (length > 0 and len(items) != length)
        or any(
            not isinstance(item, types) or (isinstance(item, bool) and types is not _BOOL)
            for item in items
        )
    ):
        kind = {_INT: "integer", _NUMBER: "number", _BOOL: "truth value", (str,): "text"}.get(
            types, "integer or null"
        )
        wanted = f"a list of {length} {kind}s" if length > 0 else f"one {kind}"
        wanted = "a list of numbers, one a channel" if length < 0 else wanted
        raise InputError(
            f"preprocess: {key} is {value!r}; it must be {wanted}{' or null' if null else ''}"
        )
    cast = [float(item) for item in items] if types is _NUMBER else items
    return tuple(cast) if length else cast[0]
