import pytest
import torch
from torch import nn

import camport
from camport.adapters import ClassificationAdapter
from camport.errors import InputError, ModelError
from tests.nets import Net, images, seeded

X = images(2)


def score(adapter, target=None, model=None):
    explanation = camport.explain(
        model or seeded(Net()), X, "hirescam", target, "features", adapter
    )
    return explanation


def gradient(y_of):
    model = seeded(Net())
    a = model.features(X).detach().requires_grad_()
    y = y_of(model.head(a))
    return y.detach(), torch.autograd.grad(y.sum(), a)[0]


ROWS = torch.arange(2)


def nearest(z, c, m):
    """The mean of the m other logits that are nearest to that of class c."""
    order = (z - z[:, c : c + 1]).abs().argsort(1)[:, 1 : m + 1]
    return z.gather(1, order).mean(1)


@pytest.mark.parametrize(
    ("options", "target", "y_of"),
    [
        ({}, 3, lambda z: z[:, 3]),
        ({}, None, lambda z: z.amax(1)),
        ({}, torch.tensor([2, -1]), lambda z: torch.stack([z[0, 2], z[1].max()])),
        ({"score_as": "probability"}, 3, lambda z: z.softmax(1)[:, 3]),
        ({"score_as": "log_probability"}, 3, lambda z: z.log_softmax(1)[:, 3]),
        ({"score_as": "contrast", "against": 1}, 3, lambda z: z[:, 3] - z[:, 1]),
        ({"score_as": "contrast", "against": (0, 1)}, 3, lambda z: z[:, 3] - z[:, :2].mean(1)),
        ({"score_as": "contrast"}, None, lambda z: z.topk(2).values @ z.new_tensor([1.0, -1.0])),
        (
            {"score_as": "contrast", "nearest": 2, "strength": 0.6},
            3,
            lambda z: z[:, 3] - 0.6 * nearest(z, 3, 2),
        ),
        ({"score_as": "contrast", "nearest": 9}, 3, lambda z: z[:, 3] - nearest(z, 3, 4)),
        ({"score_as": "rest"}, 3, lambda z: z[:, 3] + z.log_softmax(1)[:, 3]),
        (
            {"score_as": "weighted_sum"},
            [1.0, 0, -2, 0, 0.5],
            lambda z: z @ z.new_tensor([1, 0, -2, 0, 0.5]),
        ),
        ({"score_as": "regression"}, None, lambda z: z[:, 0]),
        ({"score_as": "regression", "sign": -1}, 2, lambda z: -z[:, 2]),
    ],
)
def test_score_and_gradient(options, target, y_of):
    explanation = score(ClassificationAdapter(**options), target)
    y, g = gradient(y_of)
    assert torch.allclose(explanation.score.double(), y, atol=1e-6)
    assert torch.allclose(explanation.gradients[0], g, atol=1e-12)


class OneLogit(Net):
    def __init__(self, squeeze=False):
        super().__init__(classes=1)
        self.squeeze = squeeze

    def forward(self, x):
        z = super().forward(x)
        return z[:, 0] if self.squeeze else z


@pytest.mark.parametrize("squeeze", [False, True])
def test_binary_logit_has_a_sign(squeeze):
    model = seeded(OneLogit(squeeze))
    z = model(X).flatten()
    binary = ClassificationAdapter("binary")
    assert torch.allclose(score(binary, 1, model).score.double(), z, atol=1e-6)
    assert torch.allclose(score(binary, 0, model).score.double(), -z, atol=1e-6)
    predicted = score(binary, None, model)
    assert torch.equal(predicted.target, (z > 0).long())
    assert torch.allclose(predicted.score.double(), z.abs(), atol=1e-6)
    with pytest.raises(InputError, match="class 2 is out of range: the model has 2 classes"):
        score(binary, 2, model)


def test_what_does_not_fit_is_said():
    with pytest.raises(InputError, match="score_as is 'logits'; it is one of logit, probability"):
        ClassificationAdapter("logits")
    with pytest.raises(InputError, match="sign is 0"):
        ClassificationAdapter("regression", sign=0)
    with pytest.raises(
        ModelError, match="binary score needs one logit an image, the model gives 5"
    ):
        score(ClassificationAdapter("binary"), 1)
    with pytest.raises(InputError, match="3 weights for 5 outputs"):
        score(ClassificationAdapter("weighted_sum"), [1.0, 2, 3])
    with pytest.raises(InputError, match="needs its weights"):
        score(ClassificationAdapter("weighted_sum"))
    with pytest.raises(InputError, match="class 9 is out of range"):
        score(ClassificationAdapter("contrast", against=9), 1)
    with pytest.raises(InputError, match="nearest is 0 and against None; give one of them"):
        ClassificationAdapter("contrast", nearest=0)
    with pytest.raises(InputError, match="nearest is 2 and against 1"):
        ClassificationAdapter("contrast", against=1, nearest=2)


def test_spatial_logits_of_one_pixel():
    model = seeded(
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 3, 1))
    )
    assert camport.explain(model, X, target=2, layer="1").target.tolist() == [2, 2]


def test_a_contrast_needs_two_classes():
    with pytest.raises(ModelError, match="a contrast needs a second class, the model gives 1"):
        score(ClassificationAdapter("contrast"), model=seeded(Net(1)))
