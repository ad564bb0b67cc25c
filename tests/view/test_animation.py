"""Animations: every picture in its order, for its time, in both formats."""

import numpy as np
import pytest
from PIL import Image, ImageSequence

from camport.errors import InputError, OutputError
from camport.view import save_animation

COLOURS = [(250, 10, 10), (10, 240, 20), (20, 30, 230)]


def pictures():
    frames = [np.full((40, 50, 3), 128, np.uint8) for _ in COLOURS]
    for frame, colour in zip(frames, COLOURS, strict=True):
        frame[10:30] = colour
    return frames


@pytest.mark.parametrize("name", ["a.gif", "a.webp"])
def test_frames_times_and_loop(tmp_path, name):
    save_animation(tmp_path / name, pictures(), seconds=0.4)
    with Image.open(tmp_path / name) as opened:
        frames = [
            np.asarray(frame.convert("RGB")).astype(int) for frame in ImageSequence.Iterator(opened)
        ]
        opened.seek(1)
        opened.load()
        assert opened.info["duration"] == 400
        assert opened.info.get("loop") == 0
    assert len(frames) == 3
    for frame, colour in zip(frames, COLOURS, strict=True):
        assert np.abs(frame[20, 25] - colour).max() < 12
        assert np.abs(frame[3, 3] - 128).max() < 12


def test_bad_input(tmp_path):
    with pytest.raises(InputError, match="an animation of 0 pictures"):
        save_animation(tmp_path / "a.gif", [])
    with pytest.raises(InputError, match="give one or more of one size"):
        save_animation(
            tmp_path / "a.gif", [np.zeros((4, 4, 3), np.uint8), np.zeros((4, 5, 3), np.uint8)]
        )
    with pytest.raises(InputError, match="seconds is 0"):
        save_animation(tmp_path / "a.gif", pictures(), seconds=0)
    with pytest.raises(OutputError, match=r"\.gif"):
        save_animation(tmp_path / "a.mp4", pictures())
    assert not list(tmp_path.iterdir())
