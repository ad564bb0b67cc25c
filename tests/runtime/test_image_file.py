"""open_image: every mode becomes RGB, every broken file one error."""

import os

import numpy as np
import pytest
from PIL import Image

from camport.errors import ImageFileError
from camport.runtime import image_file, open_image


def test_exif_orientation(tmp_path) -> None:
    image = Image.new("RGB", (20, 10))
    image.paste((255, 0, 0), (0, 0, 10, 10))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.png", exif=exif)
    upright = open_image(tmp_path / "turned.png")
    assert upright.size == (10, 20)
    assert upright.getpixel((5, 2)) == (255, 0, 0)
    assert upright.getpixel((5, 17)) == (0, 0, 0)


def test_transparency_is_flattened_on_white(tmp_path) -> None:
    Image.new("RGBA", (4, 4), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    assert open_image(tmp_path / "clear.png").getpixel((0, 0)) == (255, 255, 255)
    Image.new("LA", (4, 4), (0, 128)).save(tmp_path / "half.png")
    assert open_image(str(tmp_path / "half.png")).getpixel((0, 0)) == (127, 127, 127)


def test_palettes(tmp_path) -> None:
    image = Image.new("P", (4, 4), 1)
    image.putpalette([0, 0, 0, 10, 200, 30])
    image.save(tmp_path / "plain.png")
    assert open_image(tmp_path / "plain.png").getpixel((0, 0)) == (10, 200, 30)
    image.save(tmp_path / "clear.gif", transparency=1)
    assert open_image(tmp_path / "clear.gif").getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("name", ["grey.png", "grey.tiff"])
def test_16_bit_grey(tmp_path, name) -> None:
    Image.fromarray(np.array([[0, 32896, 65535]], np.uint16)).save(tmp_path / name)
    assert np.array_equal(np.asarray(open_image(tmp_path / name))[0, :, 1], [0, 128, 255])


def test_32_bit_grey(tmp_path) -> None:
    Image.fromarray(np.array([[0, 0.5, 1]], np.float32)).save(tmp_path / "float.tiff")
    assert np.array_equal(np.asarray(open_image(tmp_path / "float.tiff"))[0, :, 0], [0, 128, 255])


@pytest.mark.parametrize("mode", ["1", "L", "CMYK", "RGB"])
def test_other_modes(tmp_path, mode) -> None:
    Image.new("RGB", (4, 4), "white").convert(mode).save(tmp_path / "x.tiff")
    opened = open_image(tmp_path / "x.tiff")
    assert (opened.mode, opened.size) == ("RGB", (4, 4))
    assert min(opened.getpixel((1, 1))) > 250


def test_paths_that_are_no_files(tmp_path) -> None:
    with pytest.raises(ImageFileError, match=r"nope\.jpg does not exist"):
        open_image(tmp_path / "nope.jpg")
    with pytest.raises(ImageFileError, match="does not exist"):
        open_image(tmp_path / ("x" * 300))
    with pytest.raises(ImageFileError, match="is a directory"):
        open_image(tmp_path)


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "bmp", "webp", "tiff"])
def test_truncated_files(tmp_path, suffix) -> None:
    whole = tmp_path / f"whole.{suffix}"
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(whole)
    content = whole.read_bytes()
    cut = tmp_path / f"cut.{suffix}"
    for share in (0.3, 0.6, 0.9):
        cut.write_bytes(content[: int(len(content) * share)])
        with pytest.raises(ImageFileError, match=f"cut.{suffix} ") as caught:
            open_image(cut)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"), [(b"", "is empty"), (b"hello", "is not an image"), (b"%PDF-", "not an")]
)
def test_no_image(tmp_path, content, message) -> None:
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(ImageFileError, match=message):
        open_image(tmp_path / "x.png")


def test_broken_bytes_inside(tmp_path) -> None:
    Image.new("RGB", (64, 64), "red").save(tmp_path / "x.png")
    content = bytearray((tmp_path / "x.png").read_bytes())
    content[45:60] = os.urandom(15)
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(ImageFileError):
        open_image(tmp_path / "x.png")


@pytest.mark.parametrize("side", [10_000, 20_000])
def test_decompression_bombs(tmp_path, side) -> None:
    Image.new("1", (side, side)).save(tmp_path / "bomb.png")
    with pytest.raises(ImageFileError, match="the limit is 89 million pixels"):
        open_image(tmp_path / "bomb.png")


def test_the_limit_holds_where_pillow_has_none(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    monkeypatch.setattr(image_file, "MAX_PIXELS", 99)
    Image.new("L", (10, 10)).save(tmp_path / "x.png")
    with pytest.raises(ImageFileError, match="is 10x10 pixels"):
        open_image(tmp_path / "x.png")
