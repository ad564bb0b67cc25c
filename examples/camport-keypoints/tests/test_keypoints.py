import torch
from camport_keypoints import KeypointAdapter
from torch import nn

import camport
from camport.testing import check_adapter


def network():
    """Three maps at half the images' size, all of them positive."""
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(6, 3, 3, padding=1), nn.Sigmoid()
    return nn.Sequential(*layers).eval()


def test_conforms():
    check_adapter(KeypointAdapter, model=network(), images=torch.rand(3, 3, 16, 16), nonsense=["elbow", 0.5, -2])


def test_the_map_lies_where_the_joint_was_found():
    model, images = network(), torch.rand(2, 3, 16, 16)
    found = camport.bind(model, "hirescam", layer="1", adapter=KeypointAdapter())(images, [2, -1])
    peaks = model(images).flatten(2).amax(2)
    assert torch.equal(found.target, torch.stack([torch.tensor(2), peaks[1].argmax()]))
    assert torch.allclose(found.score, peaks.gather(1, found.target[:, None])[:, 0])
    place = int(model(images)[0, 2].argmax())
    y, x = torch.meshgrid(torch.arange(8), torch.arange(8), indexing="ij")
    far = ((y - place // 8).abs() > 1) | ((x - place % 8).abs() > 1)
    assert found.raw[0].any()
    assert not found.raw[0][far].any()  # a convolution of 3 x 3 reads no further
