"""The demo's figures of captions, answers and regions, on the bundled scenes."""

import numpy as np
import pytest

from camport.show import show


@pytest.mark.filterwarnings("ignore::camport.errors.FlatMapWarning")
def test_a_row_a_scene_and_a_picture_a_question():
    scenes = show.samples()
    figures = show.tasks(scenes)
    assert sorted(figures) == [
        "6-what-is-each-word.png",
        "7-what-is-the-answer.png",
        "8-what-is-the-region.png",
    ]
    # "a four left of a seven": the scene, then six words; a scene and four questions; a scene,
    # its classes, four digits
    for (rows, columns), figure in zip(((2, 7), (3, 5), (3, 6)), figures.values(), strict=True):
        width, height = figure.size
        assert columns * 256 <= width < (columns + 1) * 256 + 200
        assert rows * 256 <= height < (rows + 1) * 256 + 200
        assert np.asarray(figure).std() > 20
