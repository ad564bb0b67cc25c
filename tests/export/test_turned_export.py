"""A file's maps of a network that turns the image lie on the image, as those of PyTorch do."""

import numpy as np
import pytest

import camport
from camport.errors import LayerError
from camport.export import to_onnx
from camport.runtime import load
from tests.core.test_turned import IMAGES, METHOD, MOVED, TURNS, Inside, seeded, shown


def test_a_file_turns_the_map_back(tmp_path):
    move, back = TURNS["quarter"]
    to_onnx(
        camport.bind(seeded(Inside(move)).float(), METHOD, "features"),
        tmp_path / "a.onnx",
        IMAGES.float(),
    )
    found = load(tmp_path / "a.onnx")(IMAGES.float().numpy(), target=[2, 2]).heatmap
    wanted = back(shown(seeded(Inside()), images=move(IMAGES).contiguous()).heatmap).numpy()
    assert wanted.std() > 0.01
    np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_what_is_refused_leaves_no_file(tmp_path):
    move, said = MOVED["roll"]
    with pytest.raises(LayerError, match=said):
        to_onnx(
            camport.bind(seeded(Inside(move)).float(), METHOD, "features"),
            tmp_path / "a.onnx",
            IMAGES.float(),
        )
    assert not list(tmp_path.iterdir())
