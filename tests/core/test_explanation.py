import numpy as np
import pytest
import torch
from PIL import Image

import camport
from camport.core.maps.heatmap import minmax, upsample
from camport.errors import InputError, OutputError
from tests.nets import Net, images, seeded


@pytest.fixture
def explanation():
    return camport.explain(
        seeded(Net(), dtype=torch.float32), images().float(), "hirescam", 2, "features"
    )


def test_fields(explanation):
    assert explanation.heatmap.shape == (3, 14, 18)
    assert explanation.heatmap.dtype == torch.float32
    assert explanation.heatmap.amin() == 0
    assert torch.equal(explanation.heatmap.amax((1, 2)), torch.ones(3))
    assert explanation.raw.shape == (3, 7, 9)
    assert explanation.score.shape == (3,)
    assert explanation.target.tolist() == [2, 2, 2]
    assert torch.allclose(explanation.score, explanation.outputs[:, 2])
    assert explanation.activations[0].shape == explanation.gradients[0].shape == (3, 8, 7, 9)
    assert "hirescam at features" in repr(explanation)
    assert (
        camport.explain(seeded(Net()), images(), "feature_maps", layer="features").gradients is None
    )
    assert camport.explain(seeded(Net()), images(), "saliency").activations is None


def test_minmax_is_scale_free():
    m = torch.rand(2, 5, 5, dtype=torch.float64)
    assert torch.allclose(minmax(m * 1e-12), minmax(m))
    assert not minmax(torch.full((1, 3, 3), 7.0)).any()


def test_upsampling_is_centred_on_pixels():
    m = torch.zeros(1, 4, 4)
    m[0, 1, 2] = 1
    up = upsample(m, (40, 40))[0]
    y, x = (
        torch.stack([up * torch.arange(40)[:, None], up * torch.arange(40)]).sum((1, 2)) / up.sum()
    ).tolist()
    assert (y, x) == pytest.approx((14.5, 24.5))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".npy", ".npz"])
def test_saving(explanation, tmp_path, suffix):
    path = explanation.save(tmp_path / f"out{suffix}")
    assert path.exists()
    if suffix == ".npy":
        assert np.array_equal(np.load(path), explanation.heatmap.numpy())
    elif suffix == ".npz":
        with np.load(path) as found:
            assert set(found) == {"heatmap", "raw", "score", "target", "feature_maps", "gradients"}
    else:
        with Image.open(path) as picture:
            assert picture.size[0] > 18


def test_pictures(explanation):
    pictures = explanation.overlay()
    assert len(pictures) == 3
    assert all(p.size == (18, 14) and p.mode == "RGB" for p in pictures)
    assert explanation._repr_png_().startswith(b"\x89PNG")
    with pytest.raises(InputError, match="1 images for 3 heatmaps"):
        explanation.overlay([np.zeros((14, 18, 3), np.uint8)])


def test_unwritable(explanation, tmp_path):
    with pytest.raises(OutputError):
        explanation.save(tmp_path / "missing" / "out.png")
    with pytest.raises(OutputError):
        explanation.save(tmp_path / "out.xyz")
    assert not list(tmp_path.iterdir())
