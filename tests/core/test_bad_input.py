import pytest
import torch
from torch import nn

import camport
from camport.errors import InputError, ModelError
from tests.nets import Net, images, seeded

X = images()


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (X[0], r"shape \(3, 14, 18\), rank 3.*images\[None\]"),
        (X[None], r"rank 5; wanted \[b,c,H,W\]"),
        (X[:0], "empty batch"),
        ((X * 10).to(torch.uint8), "images are uint8.*images.float\\(\\) / 255"),
        (X.numpy(), "ndarray, not a torch.Tensor"),
        ("cat.png", "str, not a torch.Tensor"),
        (
            X.index_fill(0, torch.tensor([1]), float("nan")),
            "image 1 of 3 has 756 values that are NaN",
        ),
        (X.clone().fill_(float("inf")), "image 0 of 3"),
    ],
)
def test_images(bad, says):
    with pytest.raises(InputError, match=says):
        camport.explain(seeded(Net()), bad)


def test_wrong_number_of_channels():
    with pytest.raises(
        ModelError, match=r"\(3, 1, 14, 18\) have 1 channels, the model's first convolution takes 3"
    ):
        camport.explain(seeded(Net()), X[:, :1], layer="features")


def test_too_small_an_image():
    model = seeded(
        nn.Sequential(nn.Conv2d(3, 4, 7), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    )
    with pytest.raises(
        ModelError, match=r"Sequential could not be run on images \(1, 3, 5, 5\).*[Kk]ernel size"
    ):
        camport.explain(model, X[:, :, :5, :5])


@pytest.mark.parametrize(
    ("target", "says"),
    [
        (5, r"class 5 is out of range: the model has 5 classes \(0..4\)"),
        (-2, "target -2 is out of range"),
        ([0, 1], r"target has shape \(2,\); wanted one class, or \[b\] with b = 3"),
        (torch.tensor([0, 1, 7]), "class 7 is out of range"),
        (1.5, "target has dtype float32"),
        ("tabby", "target 'tabby' is not a class"),
        (torch.zeros(3, 1, dtype=torch.int64), r"target has shape \(3, 1\)"),
    ],
)
def test_targets(target, says):
    with pytest.raises(InputError, match=says):
        camport.explain(seeded(Net()), X, target=target, layer="features")


def test_no_module():
    with pytest.raises(InputError, match=r"model is function, not a torch.nn.Module"):
        camport.bind(lambda x: x)
    with pytest.raises(InputError, match=r"chunk is 0"):
        camport.bind(seeded(Net()), chunk=0)


def test_an_output_no_adapter_reads():
    with pytest.raises(
        ModelError, match=r"returned \(3, 4, 12, 16\); the classification adapter reads \[b,k\]"
    ):
        camport.explain(seeded(nn.Sequential(nn.Conv2d(3, 4, 3))), X, layer="0")

    class Nothing(Net):
        def forward(self, x):
            super().forward(x)

    with pytest.raises(ModelError, match=r"returned NoneType without a floating-point tensor"):
        camport.explain(seeded(Nothing()), X, layer="features")


def test_float_images_are_cast_to_the_models_type():
    model = seeded(Net(), dtype=torch.float32)
    assert (
        camport.explain(model, X, target=1, layer="features").activations[0].dtype == torch.float32
    )
