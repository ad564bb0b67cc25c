import pytest
import torch
from torch import nn

import camport
from camport.adapters import SegmentationAdapter
from camport.errors import DoubtWarning, InputError, ModelError
from camport.testing.networks import PixelNet, seeded
from tests.nets import images

# random networks may say no
pytestmark = pytest.mark.filterwarnings("ignore::camport.errors.FlatMapWarning")

X = images(2)
H, W = X.shape[2:]


def explain(target=None, model=None, layer="features", **options):
    return camport.explain(
        model or seeded(PixelNet()), X, "hirescam", target, layer, SegmentationAdapter(**options)
    )


def by_hand(y_of):
    """Score and gradient at the target layer of PixelNet, y_of(logits) given."""
    model = seeded(PixelNet())
    a = model.features(X).detach().requires_grad_()
    z = nn.functional.interpolate(model.head(a), size=(H, W), mode="bilinear")
    y = y_of(z)
    return y.detach(), torch.autograd.grad(y.sum(), a)[0]


def mean_where(z, c, mask):
    """Seg-Grad-CAM's equation 2, pixel by pixel."""
    rows = []
    for i in range(len(z)):
        total, count = 0.0, 0.0
        for v in range(H):
            for u in range(W):
                total = total + mask[i, v, u] * z[i, c[i], v, u]
                count = count + mask[i, v, u]
        rows.append(total / count)
    return torch.stack(rows)


def box_mask(x0, y0, x1, y1):
    mask = torch.zeros(2, H, W, dtype=X.dtype)
    mask[:, y0:y1, x0:x1] = 1
    return mask


WEIGHTS = torch.rand(2, H, W, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize(
    ("target", "mask"),
    [
        ({"class": 3, "mask": WEIGHTS}, WEIGHTS),
        ({"class": 3, "mask": WEIGHTS[0] > 0.5}, (WEIGHTS[:1] > 0.5).double().expand(2, -1, -1)),
        ({"class": [3, 3], "box": (2, 1, 9, 6)}, box_mask(2, 1, 9, 6)),
        ({"class": 3, "pixel": (5, 4)}, box_mask(5, 4, 6, 5)),
        ({"class": 3, "pixel": torch.tensor([[5.0, 4.0], [5.0, 4.0]])}, box_mask(5, 4, 6, 5)),
    ],
)
def test_score_and_gradient(target, mask):
    explanation = explain(target)
    y, g = by_hand(lambda z: mean_where(z, [3, 3], mask))
    assert torch.allclose(explanation.score.double(), y, atol=1e-6)
    assert torch.allclose(explanation.gradients[0], g, atol=1e-12)


def test_the_region_is_where_the_class_is_predicted():
    z = seeded(PixelNet())(X)
    c = int(z.argmax(1).flatten().mode().values)
    explanation = explain(c)
    y, g = by_hand(lambda z: mean_where(z, [c, c], (z.argmax(1) == c).double()))
    assert torch.allclose(explanation.score.double(), y, atol=1e-6)
    assert torch.allclose(explanation.gradients[0], g, atol=1e-12)


def test_the_class_is_the_one_that_covers_most():
    winner = seeded(PixelNet())(X).argmax(1)
    counts = torch.stack([(winner == c).sum((1, 2)) for c in range(5)], 1)
    assert explain(background=None).target.tolist() == counts.argmax(1).tolist()
    rest = counts.clone()
    background = int(counts[0].argmax())
    rest[:, background] = -1
    assert explain(background=background).target.tolist() == rest.argmax(1).tolist()
    inside = explain({"box": (0, 0, 5, 5)}, background=background).target
    within = torch.stack([(winner[:, :5, :5] == c).sum((1, 2)) for c in range(5)], 1)
    assert inside.tolist() == within.argmax(1).tolist()


class Coarse(PixelNet):
    """Logits at half the size under `.logits`, as SegFormer gives them."""

    def forward(self, x):
        return {"aux": x.mean(), "logits": self.head(self.features(x))}


def test_coarse_logits_are_stretched_to_the_mask():
    explanation = explain({"class": 2, "mask": WEIGHTS}, seeded(Coarse()))
    y, g = by_hand(lambda z: mean_where(z, [2, 2], WEIGHTS))
    assert torch.allclose(explanation.score.double(), y, atol=1e-6)
    assert torch.allclose(explanation.gradients[0], g, atol=1e-12)


class Binary(PixelNet):
    def __init__(self):
        super().__init__()
        self.head = nn.Conv2d(7, 1, 1)


def test_one_logit_a_pixel():
    model = seeded(Binary())
    z = model(X)[:, 0]
    here = (z > z.median()).double()
    explanation = explain({"mask": here}, model)
    assert torch.allclose(
        explanation.score.double(), (z * here).sum((1, 2)) / here.sum((1, 2)), atol=1e-6
    )


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("cat", "class 'cat' is no tensor"),
        ({"class": 9}, "class 9 is out of range: the model has 5 classes"),
        ({"class": -2}, "class -2 is out of range"),
        (
            {"class": 1, "box": (0, 0, 40, 5)},
            r"box \[0.0, 0.0, 40.0, 5.0\] is empty or outside the image of 18x14",
        ),
        ({"class": 1, "box": (3, 3, 3, 5)}, "is empty or outside"),
        ({"class": 1, "pixel": (18, 0)}, "pixel .* outside the image"),
        ({"class": 1, "mask": torch.zeros(14, 18)}, "mask of image 0 is empty"),
        (
            {"class": 1, "mask": torch.full((14, 18), -0.5)},
            "mask of image 0 has values down to -0.5",
        ),
        ({"class": 1, "mask": torch.zeros(3, 14, 18)}, r"mask has shape \(3, 14, 18\); wanted"),
        (
            {"class": 1, "mask": torch.ones(14, 18), "box": (0, 0, 1, 1)},
            "target has mask and box; give one region",
        ),
        ({"klass": 1}, "target has 'klass'; it can have class"),
        ({"class": 0.5}, "class has dtype float32"),
    ],
)
def test_what_does_not_fit_is_said(target, said):
    with pytest.raises(InputError, match=said):
        explain(target)


def test_a_class_that_is_predicted_nowhere():
    model = seeded(PixelNet())
    with torch.no_grad():
        model.head.bias[4] = -100
    with pytest.raises(InputError, match="predicts class 4 nowhere in image 0; name another class"):
        explain(4, model)


def test_a_classifier_is_no_segmentation():
    with pytest.raises(
        ModelError, match=r"returned \(2, 7\); this adapter reads logits \[b,k,h,w\]"
    ):
        explain(
            1, seeded(nn.Sequential(nn.Conv2d(3, 7, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())), "0"
        )


@pytest.mark.parametrize(
    ("make", "layer"),
    [
        ("lraspp_mobilenet_v3_large", "backbone.16"),
        ("fcn_resnet50", "backbone.layer4"),
        ("deeplabv3_mobilenet_v3_large", "backbone.16"),
    ],
)
def test_networks_of_torchvision(make, layer):
    from torchvision.models import segmentation

    torch.manual_seed(0)
    model = getattr(segmentation, make)(weights=None, weights_backbone=None, num_classes=4).eval()
    x = torch.rand(2, 3, 64, 64)
    left = camport.explain(
        model, x, "hirescam", {"class": 1, "box": (0, 0, 16, 64)}, layer, "segmentation"
    )
    right = camport.explain(
        model, x, "hirescam", {"class": 1, "box": (48, 0, 64, 64)}, layer, "segmentation"
    )
    z = model(x)["out"][:, 1]
    assert torch.allclose(left.score, z[:, :, :16].mean((1, 2)), rtol=1e-3, atol=1e-6)
    assert torch.allclose(right.score, z[:, :, 48:].mean((1, 2)), rtol=1e-3, atol=1e-6)
    assert not torch.allclose(left.gradients[0], right.gradients[0])


class Gives(nn.Module):
    """PixelNet's logits, given otherwise."""

    def __init__(self, give):
        super().__init__()
        self.net, self.give = seeded(PixelNet()), give  # a function or a module

    def forward(self, x):
        return self.give(self.net(x))


SAID = {
    "softmax": (lambda z: z.softmax(1), r"lie in \[0,1\].*without the softmax"),
    "sigmoid": (nn.Sigmoid(), r"lie in \[0,1\].*without the sigmoid"),
    "log_softmax": (lambda z: z.log_softmax(1), "log-probabilities.*without the log_softmax"),
    "two outputs": (
        lambda z: (z, z.relu() - 1),
        "of the model's 2 outputs '0' .* is explained, and not '1'",
    ),
}


@pytest.mark.parametrize(("give", "said"), SAID.values(), ids=SAID)
def test_what_is_no_logit_is_said(give, said):
    with pytest.warns(DoubtWarning, match=said):
        explain(None, Gives(give), "net.features", background=None)


def test_classes_that_come_last_are_refused():
    with pytest.raises(ModelError, match=r"its classes come last.*permute\(0, 3, 1, 2\)"):
        explain(1, Gives(lambda z: z.permute(0, 2, 3, 1)), "net.features")
