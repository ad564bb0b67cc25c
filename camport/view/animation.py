"""Pictures one after the other as one file: a sweep over layers, a clip of frames."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from PIL import Image

from camport.errors import InputError
from camport.files import check_writable, write_atomic
from camport.view.pictures import ImageLike, to_pixels

FORMATS = {".gif": "GIF", ".webp": "WEBP"}


def save_animation(
    path: str | os.PathLike[str], pictures: Sequence[ImageLike], *, seconds: float = 0.6
) -> Path:
    """Writes an animation that begins anew at its end.

    Args:
        path: a .gif or .webp file.
        pictures: as `overlay` takes them, all of one size.
        seconds: for which each picture is seen, 0.02 to 60.

    Raises:
        InputError: no picture, pictures of several sizes, or seconds out of range.
        OutputError: another suffix, or a place where nothing can be written.
    """
    path = check_writable(path, FORMATS)
    frames = [Image.fromarray(to_pixels(picture)) for picture in pictures]
    sizes = sorted({frame.size for frame in frames})
    if len(sizes) != 1:
        raise InputError(
            f"an animation of {len(frames)} pictures of the sizes {sizes}; give one or more of one"
            " size"
        )
    if not 0.02 <= seconds <= 60:
        raise InputError(f"seconds is {seconds}; give 0.02 to 60")

    def write(stream: IO[bytes]) -> None:
        kind = FORMATS[path.suffix.lower()]
        options = {
            "save_all": True,
            "append_images": frames[1:],
            "duration": round(1000 * seconds),
            "loop": 0,
        }
        # 256 colours for all frames together: with a palette each,
        # what stays the same would flicker
        if kind == "GIF":
            colours = _palette(frames)
            whole = [frame.quantize(palette=colours) for frame in frames]
            whole[0].save(stream, kind, **{**options, "append_images": whole[1:]})
        else:
            frames[0].save(stream, kind, quality=88, **options)

    return write_atomic(path, write)


def _palette(frames: Sequence[Image.Image]) -> Image.Image:
    """The 256 colours of all frames, by way of a strip of them made small."""
    few = [
        frame.resize((min(frame.width, 128), min(frame.height, 128)))
        for frame in frames[:: max(1, len(frames) // 16)]
    ]
    strip = Image.new("RGB", (sum(f.width for f in few), max(f.height for f in few)))
    left = 0
    for frame in few:
        strip.paste(frame, (left, 0))
        left += frame.width
    return strip.quantize(256)
