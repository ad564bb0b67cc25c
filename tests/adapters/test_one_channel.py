"""Segmentations of one channel: two classes of opposite sign, and probabilities noticed."""

import pytest
import torch
from torch import nn

import camport
from camport.adapters import SegmentationAdapter
from camport.errors import DoubtWarning, InputError
from tests.nets import images, seeded

X = images(2)
H, W = X.shape[2:]


class OneChannel(nn.Module):
    """z [b,1,H,W], or its sigmoid."""

    def __init__(self, sigmoid=False):
        super().__init__()
        self.features, self.head, self.sigmoid = (
            nn.Conv2d(3, 6, 3, padding=1),
            nn.Conv2d(6, 1, 1),
            sigmoid,
        )

    def forward(self, x):
        z = self.head(self.features(x).relu())
        z = z - z.mean((1, 2, 3), keepdim=True)
        return z.sigmoid() if self.sigmoid else z


def by_hand(y_of, sigmoid=False):
    """Score and gradient at the features."""
    model = seeded(OneChannel(sigmoid))
    a = model.features(X).detach().requires_grad_()
    z = model.head(a.relu())
    z = (z - z.mean((1, 2, 3), keepdim=True))[:, 0]
    y = y_of(z.sigmoid() if sigmoid else z)
    return y.detach(), torch.autograd.grad(y.sum(), a)[0]


def mean(z, where):
    return (z * where).sum((1, 2)) / where.sum((1, 2))


def explain(target=None, sigmoid=False, **options):
    return camport.explain(
        seeded(OneChannel(sigmoid)),
        X,
        "hirescam",
        target,
        "features",
        SegmentationAdapter(**options),
    )


@pytest.mark.filterwarnings("ignore::camport.errors.FlatMapWarning")
@pytest.mark.parametrize(
    ("target", "y_of"),
    [
        (None, lambda z: mean(z, z > 0)),
        (1, lambda z: mean(z, z > 0)),
        (0, lambda z: mean(-z, z <= 0)),
        ({"class": 1, "box": (1, 2, 9, 8)}, lambda z: z[:, 2:8, 1:9].mean((1, 2))),
        ({"class": 0, "box": (1, 2, 9, 8)}, lambda z: -z[:, 2:8, 1:9].mean((1, 2))),
    ],
)
def test_two_classes_of_opposite_sign(target, y_of):
    e = explain(target)
    y, g = by_hand(y_of)
    torch.testing.assert_close(e.score, y)
    torch.testing.assert_close(e.gradients[0], g)


def test_the_default_class_is_the_foreground():
    assert explain().target.tolist() == [1, 1]


@pytest.mark.filterwarnings("ignore::camport.errors.FlatMapWarning")
@pytest.mark.parametrize(
    ("target", "y_of"),
    [(None, lambda p: mean(p, p > 0.5)), (0, lambda p: mean(1 - p, p <= 0.5))],
)
def test_probabilities_are_noticed(target, y_of):
    with pytest.warns(
        DoubtWarning, match=r"one channel lies in \[0,1\] and is read as a probability"
    ):
        e = explain(target, sigmoid=True)
    y, g = by_hand(y_of, sigmoid=True)
    torch.testing.assert_close(e.score, y)
    torch.testing.assert_close(e.gradients[0], g)


def test_one_may_say_that_they_are_logits():
    e = explain({"class": 1}, sigmoid=True, probabilities=False)
    y, _ = by_hand(lambda p: p.mean((1, 2)), sigmoid=True)  # above 0 everywhere
    torch.testing.assert_close(e.score, y)


def test_a_foreground_that_is_nowhere_is_named():
    class Nothing(OneChannel):
        def forward(self, x):
            return super().forward(x) - 100

    with pytest.raises(
        InputError,
        match=r"predicts class 1 nowhere in image 0, z > 0 is true of no pixel; name another",
    ):
        camport.explain(seeded(Nothing()), X, "hirescam", layer="features", adapter="segmentation")


def test_a_row_may_have_a_mask_and_another_the_predicted_region():
    mask = torch.zeros(2, H, W, dtype=X.dtype)
    mask[0, 2:5, 3:7], mask[1] = 1, -1
    e = explain({"class": 1, "mask": mask})
    first, _ = by_hand(lambda z: z[:, 2:5, 3:7].mean((1, 2)))
    second, _ = by_hand(lambda z: mean(z, z > 0))
    torch.testing.assert_close(e.score, torch.stack([first[0], second[1]]))


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ({"class": 1, "target": 0}, "two names of one thing"),
        (
            {"class": 1, "mask": torch.full((H, W), float("nan"))},
            f"mask has {H * W} values that are NaN or infinite",
        ),
        ({"class": 1, "mask": torch.full((H, W), -0.5)}, "mask of image 0 has values down to -0.5"),
        (2, r"class 2 is out of range: the model has 2 classes \(0..1\)"),
    ],
)
def test_wrong_targets(target, says):
    with pytest.raises(InputError, match=says):
        explain(target)
