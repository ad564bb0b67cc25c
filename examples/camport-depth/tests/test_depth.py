import torch
from camport_depth import DepthAdapter
from torch import nn

import camport
from camport.testing import check_adapter


def network():
    """Depths at half the images' size."""
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(6, 6, 3, padding=1), nn.ReLU()
    return nn.Sequential(*layers, nn.Conv2d(6, 1, 1), nn.Softplus()).eval()


def test_conforms():
    check_adapter(
        DepthAdapter, model=network(), images=torch.rand(3, 3, 16, 16), nonsense=["left", (1, 2), [float("nan")] * 4]
    )


def test_the_map_lies_in_the_region():
    model, images = network(), torch.rand(1, 3, 32, 32)
    found = camport.explain(model, images, "hirescam", (0, 0, 12, 12), layer="1", adapter=DepthAdapter())
    depths = nn.functional.interpolate(model(images), (32, 32), mode="bilinear", align_corners=False)[0, 0]
    assert torch.allclose(found.score, depths[:12, :12].mean())
    assert found.raw[0, :7, :7].any()
    assert not found.raw[0, 9:].any()  # a convolution of 3 x 3 and the resizing read no further
