"""Maps of several layers as one, each form written out."""

import pytest
import torch
import torch.nn.functional as F

import camport
from camport.core.maps.fusion import fuse
from camport.errors import InputError
from camport.plugins import GradCAM
from tests.nets import Net, images, seeded

DEEP = torch.rand(2, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 100
FINE = torch.rand(2, 6, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def up(maps):
    return F.interpolate(maps[:, None], (6, 8), mode="bilinear")[:, 0]


def unit(maps):
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    return (maps - low) / (high - low)


WANTED = {
    "max": torch.maximum(up(DEEP), FINE),
    "mean": (up(DEEP) + FINE) / 2,
    "sum": up(DEEP) + FINE,
    "normalised max": torch.maximum(up(unit(DEEP)), unit(FINE)),
    "normalised mean": (up(unit(DEEP)) + unit(FINE)) / 2,
    "normalised product": up(unit(DEEP)) * unit(FINE),
}


@pytest.mark.parametrize("fusion", WANTED)
def test_forms(fusion):
    torch.testing.assert_close(fuse([DEEP, FINE], fusion), WANTED[fusion])


def test_normalised_layers_weigh_alike_whatever_their_size():
    torch.testing.assert_close(
        fuse([DEEP * 1e6, FINE], "normalised mean"), WANTED["normalised mean"]
    )


def test_a_flat_layer_adds_nothing():
    flat = torch.full_like(FINE, 3.0)
    torch.testing.assert_close(fuse([flat, FINE], "normalised max"), unit(FINE))


def test_methods_take_the_normalised_forms():
    model = seeded(Net())
    parts = [
        camport.explain(model, images(), GradCAM(), 0, layer).raw
        for layer in ("features", "features.1")
    ]
    h, w = parts[1].shape[1:]
    wanted = sum(F.interpolate(unit(p)[:, None], (h, w), mode="bilinear")[:, 0] for p in parts) / 2
    found = camport.explain(
        model, images(), GradCAM("normalised mean"), 0, ["features", "features.1"]
    ).raw
    torch.testing.assert_close(found, wanted)


def test_another_word_is_refused():
    with pytest.raises(
        InputError, match="fusion is 'min'; it is one of 'max', 'mean', 'sum', 'normalised max'"
    ):
        fuse.__wrapped__([DEEP, FINE], "min") if hasattr(fuse, "__wrapped__") else fuse(
            [DEEP, FINE], "min"
        )
