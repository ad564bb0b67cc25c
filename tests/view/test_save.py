"""Files appear whole or not at all. These tests hold for root too, whom no permission stops."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from camport.errors import InputError, OutputError
from camport.view import check_writable, save_arrays, save_image, write_atomic

PICTURE = Image.new("RGB", (8, 6), (200, 30, 30))


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.jpeg", "a.PNG"])
def test_images(tmp_path, name) -> None:
    assert save_image(tmp_path / name, PICTURE) == tmp_path / name
    with Image.open(tmp_path / name) as saved:
        assert saved.size == (8, 6)
        assert np.abs(np.asarray(saved).astype(int) - (200, 30, 30)).max() < 8
    assert os.listdir(tmp_path) == [name]


def test_images_of_every_kind(tmp_path) -> None:
    save_image(tmp_path / "a.jpg", np.zeros((3, 4, 4), np.float32))
    save_image(str(tmp_path / "a.jpg"), PICTURE.convert("RGBA"))
    with pytest.raises(InputError):
        save_image(tmp_path / "b.png", np.zeros(3))
    assert os.listdir(tmp_path) == ["a.jpg"]


def test_arrays(tmp_path) -> None:
    heatmap = np.random.default_rng(0).random((2, 4, 4), dtype=np.float32)
    assert np.array_equal(np.load(save_arrays(tmp_path / "a.npy", heatmap)), heatmap)
    with np.load(
        save_arrays(tmp_path / "a.npz", {"heatmap": heatmap, "score": heatmap[:, 0, 0]})
    ) as saved:
        assert sorted(saved) == ["heatmap", "score"]
        assert np.array_equal(saved["heatmap"], heatmap)
    with np.load(save_arrays(tmp_path / "b.npz", heatmap)) as saved:
        assert list(saved) == ["heatmap"]
    with pytest.raises(OutputError, match=r"holds one array, not heatmap, score; name an \.npz"):
        save_arrays(tmp_path / "c.npy", {"heatmap": heatmap, "score": heatmap})
    with pytest.raises(
        OutputError, match=r"a\.png ends in '\.png'; what can be written is \.npy, \.npz"
    ):
        save_arrays(tmp_path / "a.png", heatmap)


def test_paths_that_cannot_be_written(tmp_path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    for path, message in (
        ("nope/a.png", "nope does not exist; make the directory first"),
        ("file/a.png", "file is a file, not a directory"),
        ("folder.png", "is a directory; name a file in it"),
        ("pipe.png", "no regular file"),
        ("a.gif", r"ends in '\.gif'; what can be written is \.png, \.jpg"),
        ("a", "has no suffix"),
    ):
        with pytest.raises(OutputError, match=message):
            check_writable(tmp_path / path)
        with pytest.raises(OutputError, match=message):
            save_image(tmp_path / path, PICTURE)
    assert sorted(os.listdir(tmp_path)) == ["file", "folder.png", "pipe.png"]


def test_check_writable_leaves_no_trace(tmp_path) -> None:
    assert check_writable(str(tmp_path / "a.npz")) == tmp_path / "a.npz"
    assert os.listdir(tmp_path) == []


def test_no_permission(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
    with pytest.raises(OutputError, match="no permission to write"):
        check_writable(tmp_path / "a.png")


class Broken(Exception):
    pass


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), Broken(), KeyboardInterrupt()]
)
@pytest.mark.parametrize("before", [None, b"old"])
def test_a_failing_writer_leaves_what_was_there(tmp_path, error, before) -> None:
    target = tmp_path / "a.png"
    if before:
        target.write_bytes(before)

    def write(stream) -> None:
        stream.write(b"half a")
        raise error

    expected, message = (
        (OutputError, "No space left") if isinstance(error, OSError) else (type(error), "^$")
    )
    with pytest.raises(expected, match=message):
        write_atomic(target, write)
    assert os.listdir(tmp_path) == (["a.png"] if before else [])
    assert not before or target.read_bytes() == before


def test_a_failing_encoder_leaves_nothing(tmp_path, monkeypatch) -> None:
    def fail(self, stream, kind, **options) -> None:
        stream.write(b"half a")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(OutputError, match=r"a\.png cannot be written: No space left on device"):
        save_image(tmp_path / "a.png", PICTURE)
    assert os.listdir(tmp_path) == []


def test_a_failing_move_leaves_nothing(tmp_path, monkeypatch) -> None:
    def fail(source, target) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OutputError, match="Operation not permitted"):
        save_arrays(tmp_path / "a.npy", np.zeros(3))
    assert os.listdir(tmp_path) == []


def test_a_name_that_is_too_long(tmp_path) -> None:
    with pytest.raises(OutputError, match="too long"):
        save_image(tmp_path / ("x" * 300 + ".png"), PICTURE)
    assert os.listdir(tmp_path) == []


def test_permissions_are_the_users(tmp_path) -> None:
    old = os.umask(0o027)
    try:
        save_image(tmp_path / "new.png", PICTURE)
    finally:
        os.umask(old)
    assert (tmp_path / "new.png").stat().st_mode & 0o777 == 0o640
    (tmp_path / "new.png").chmod(0o604)
    save_image(tmp_path / "new.png", PICTURE)
    assert (tmp_path / "new.png").stat().st_mode & 0o777 == 0o604


def test_links_are_followed(tmp_path) -> None:
    (tmp_path / "link.png").symlink_to(tmp_path / "real.png")
    save_image(tmp_path / "link.png", PICTURE)
    assert (tmp_path / "link.png").is_symlink()
    assert (tmp_path / "real.png").stat().st_size > 50
